// Out of a schema of the API's description: what it is about, and something to begin with.

// The schema itself, where it stands for another one.
export function resolve(api, schema) {
  const name = schema.$ref?.split("/").pop();
  if (name) return resolve(api, api.components.schemas[name] ?? {});
  const some = (schema.oneOf ?? schema.anyOf ?? schema.allOf)?.find((one) => one.type !== "null");
  return some ? { ...resolve(api, some), description: schema.description } : schema;
}

export const typeOf = (schema) => [schema.type].flat().filter((type) => type && type !== "null")[0] ?? "";

// A value of the right shape, without what may be left out.
export function blank(api, given) {
  const schema = resolve(api, given);
  if (schema.example !== undefined) return schema.example;
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  switch (typeOf(schema)) {
    case "object": {
      const needed = schema.required ?? Object.keys(schema.properties ?? {});
      return Object.fromEntries(needed.map((name) => [name, blank(api, schema.properties?.[name] ?? {})]));
    }
    case "array": return [blank(api, schema.items ?? {})];
    case "integer": case "number": return 0;
    case "boolean": return false;
    default: return "";
  }
}
