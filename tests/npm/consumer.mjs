// Reads events as a JavaScript consumer would. In: {"queue": NAME, "encoding": "base64" | "none"}, or {"bodies": [TEXT, ...]}
// as a topic delivers them; out: what it understood.
import { text } from "node:stream/consumers";
import { QueueServiceClient } from "@azure/storage-queue";
import { HTTP } from "cloudevents";

const { queue, encoding, bodies } = JSON.parse(await text(process.stdin));

async function peek() {
  const client = QueueServiceClient.fromConnectionString(process.env.AzureWebJobsStorage).getQueueClient(queue);
  const { peekedMessageItems } = await client.peekMessages({ numberOfMessages: 32 });
  return peekedMessageItems.map(({ messageText }) =>
    encoding === "base64" ? Buffer.from(messageText, "base64").toString() : messageText,
  );
}

const understood = (bodies ?? (await peek())).map((body) => {
  const event = HTTP.toEvent({ headers: { "content-type": "application/cloudevents+json" }, body });
  event.validate(); // throws
  return { id: event.id, type: event.type, source: event.source, subject: event.subject, time: event.time, data: event.data };
});
console.log(JSON.stringify(understood));
