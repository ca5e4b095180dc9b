// Reads {"queries": {name: KQL}, "objects": [KEDA object, …]} from standard input and prints what is wrong, a line each.
// The parser is Kusto's own; the columns are those of Application Insights' tables that the queries use.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { TriggerAuthentication } from "@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.js");

const { GlobalState, KustoCode, Symbols } = globalThis.Kusto.Language;
const all = "timestamp:datetime, itemCount:int, cloud_RoleName:string, cloud_RoleInstance:string";
const columns = {
  traces: `${all}, message:string, severityLevel:int`,
  customMetrics: `${all}, name:string, valueCount:int, valueSum:real, valueMax:real, customDimensions:dynamic`,
  exceptions: `${all}, type:string, outerMessage:string`,
};
const tables = Object.entries(columns).map(([name, of]) => Symbols.TableSymbol.From(`(${of})`).WithName(name));
const state = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor1("insights", tables));

function wrongInQuery(name, query) {
  const found = KustoCode.ParseAndAnalyze(query, state).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, index) => `query ${name}: ${found.getItem(index).Message}`);
}

const kinds = { ScaledObject, TriggerAuthentication };

function wrongInObject({ apiVersion, kind, ...content }) {
  try {
    new kinds[kind](content).validate();
    return [];
  } catch (error) {
    return [`${apiVersion} ${kind} ${content.metadata?.name}: ${error.message}`];
  }
}

const { queries, objects } = JSON.parse(readFileSync(0, "utf8"));
const wrong = [
  ...Object.entries(queries).flatMap(([name, query]) => wrongInQuery(name, query)),
  ...objects.flatMap(wrongInObject),
];
for (const line of wrong) console.log(line);
process.exitCode = wrong.length ? 1 : 0;
