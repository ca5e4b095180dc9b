// Reads the AsyncAPI document that is named, and prints what the official parser has to say of it, as JSON.
import { readFile } from "node:fs/promises";
import parser from "@asyncapi/parser";

const [, , file] = process.argv;
const { document, diagnostics } = await new parser.Parser().parse(await readFile(file, "utf8"), { source: file });
const told = {
  errors: diagnostics.filter((one) => one.severity === 0).map((one) => `${one.path.join(".")}: ${one.message}`),
  warnings: diagnostics.filter((one) => one.severity === 1).map((one) => `${one.path.join(".")}: ${one.message}`),
  channels: document?.channels().all().map((channel) => channel.address()) ?? [],
  messages: document?.allMessages().all().map((message) => message.name()) ?? [],
};
console.log(JSON.stringify(told));
