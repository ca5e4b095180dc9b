// Validates documents by a schema as producers' own checks do. In: {"schema": {...}, "documents": [...]}; out: whether each is valid.
import { text } from "node:stream/consumers";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const { schema, documents } = JSON.parse(await text(process.stdin));
const ajv = new Ajv({ allowUnionTypes: true });
addFormats(ajv);
const validate = ajv.compile(schema);
console.log(JSON.stringify(documents.map((document) => validate(document))));
