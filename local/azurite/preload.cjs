// Loaded into Node before Azurite. It changes nothing that Azurite answers, only how long it takes.

// Before every call Azurite removes what has expired, which is mostly nothing, and to remove nothing LokiJS rebuilds
// all indices of all messages. With a thousand messages that is most of the time of a call.
const { Collection } = require("lokijs");

const removeBatch = Collection.prototype.removeBatch;
Collection.prototype.removeBatch = function (batch) {
  if (batch.length > 0) removeBatch.call(this, batch);
};

// Azurite closes a connection that was idle for 5 s, and there is no option for it. A client that sends at this very
// moment gets an error, after which the SDK waits 15 s. Azure keeps idle connections longer than clients do.
const { Server } = require("http");

const KEEP_ALIVE_MILLISECONDS = 120_000;
const listen = Server.prototype.listen;
Server.prototype.listen = function (...args) {
  this.keepAliveTimeout = KEEP_ALIVE_MILLISECONDS;
  return listen.apply(this, args);
};
