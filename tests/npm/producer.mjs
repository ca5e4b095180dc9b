// Sends updates as JavaScript producers would. In: {"queue": NAME, "messages": [{"way": WAY, "update": {...}}, ...]}.
import { text } from "node:stream/consumers";
import { QueueServiceClient } from "@azure/storage-queue";
import { CloudEvent, HTTP } from "cloudevents";

const base64 = (string) => Buffer.from(string).toString("base64");
const event = (data) => new CloudEvent({ type: "Archive.ImageDescribed", source: "/archive", data });
const structured = (data) => HTTP.structured(event(data)).body;

const ways = {
  "plain": (update) => JSON.stringify(update),
  "base64": (update) => base64(JSON.stringify(update)),
  "cloudevents": (update) => structured(update),
  "cloudevents, base64": (update) => base64(structured(update)),
  "cloudevents, data as bytes": (update) => structured(new Uint8Array(Buffer.from(JSON.stringify(update)))),
  "cloudevents, data as text": (update) => structured(JSON.stringify(update)),
  "nulls": (update) => JSON.stringify({ ...update, traceparent: null, failure: null, body: null }),
  "cloudevents, nulls": (update) => JSON.stringify({ ...JSON.parse(structured({ ...update, traceparent: null })), data_base64: null }),
};

const { queue, messages } = JSON.parse(await text(process.stdin));
const client = QueueServiceClient.fromConnectionString(process.env.AzureWebJobsStorage).getQueueClient(queue);
for (const { way, update } of messages) await client.sendMessage(ways[way](update), { messageTimeToLive: -1 });
