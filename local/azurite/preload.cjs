// Loaded into Node before Azurite. It changes nothing that Azurite answers, only how long it takes.

// When LokiJS removes several documents at once, it builds all indices of the collection anew. Azurite has it do so for no
// document at all, before every call (what has expired), and for one at a time, once a minute, for everything that deleted
// messages left behind: with ten thousand of them it answers nobody for two minutes. None and one need no new indices.
const { Collection } = require("lokijs");
const { removeBatch, removeBatchByPositions } = Collection.prototype;

Collection.prototype.removeBatch = function (batch) {
  if (batch.length > 0) removeBatch.call(this, batch);
};
Collection.prototype.removeBatchByPositions = function (positions) {
  if (positions.length === 1) this.remove(this.data[positions[0]]);
  else removeBatchByPositions.call(this, positions);
};

// Azurite closes a connection that was idle for 5 s, and there is no option for it. A client that sends at this very
// moment gets an error, after which the SDK waits 15 s. Azure keeps idle connections longer than clients do.
const KEEP_ALIVE_MILLISECONDS = 120_000;
for (const { Server } of [require("http"), require("https")]) {
  const listen = Server.prototype.listen;
  Server.prototype.listen = function (...args) {
    this.keepAliveTimeout = KEEP_ALIVE_MILLISECONDS;
    return listen.apply(this, args);
  };
}
