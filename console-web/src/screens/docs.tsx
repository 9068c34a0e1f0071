import { useEffect, useState } from 'preact/hooks';

interface Operation { summary: string; parameters: { name: string; in: string; description?: string }[]; requestBody?: { content: Record<string, { schema: Schema }> }; responses: Record<string, { content?: Record<string, { schema: Schema }> }>; 'x-roles'?: string[] }
interface Schema { $ref?: string; type?: string | string[]; title?: string; description?: string; properties?: Record<string, Schema>; items?: Schema; required?: string[]; anyOf?: Schema[]; enum?: string[]; additionalProperties?: Schema | boolean }
interface Document { openapi: string; info: { version: string; description: string }; paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, Schema> } }

function kind(schema: Schema | undefined): string {
  if (!schema) return 'anything';
  if (schema.$ref) return schema.$ref.split('/').pop()!;
  if (schema.enum) return schema.enum.map((v) => JSON.stringify(v)).join(' | ');
  if (schema.anyOf) return schema.anyOf.map(kind).join(' or ');
  if (schema.type === 'array') return `list of ${kind(schema.items)}`;
  if (schema.type === 'object' && typeof schema.additionalProperties === 'object') return `map of ${kind(schema.additionalProperties)}`;
  return Array.isArray(schema.type) ? schema.type.join(' or ') : schema.type ?? 'anything';
}

function Shape({ schema, all }: { schema: Schema; all: Document['components']['schemas'] }) {
  const name = kind(schema).replace('list of ', '');
  const found = all[name];
  if (!found?.properties) return <code>{kind(schema)}</code>;
  return (
    <details><summary><code>{kind(schema)}</code> <span class="quiet">{found.description}</span></summary>
      <table><tbody>{Object.entries(found.properties).map(([key, value]) => <tr key={key}><td><code>{key}</code>{found.required?.includes(key) ? '' : ' (optional)'}</td><td>{kind(value)}</td></tr>)}</tbody></table>
    </details>
  );
}

export function DocsScreen() {
  const [doc, setDoc] = useState<Document | null>(null);
  useEffect(() => { void fetch('/api/v1/openapi.json').then((answer) => answer.json()).then(setDoc); }, []);
  if (!doc) return <p class="empty">Reading the description …</p>;
  return (
    <div class="screen">
      <section class="panel">
        <h1 class="pad">API <small>version {doc.info.version}, OpenAPI {doc.openapi}: <a href="/api/v1/openapi.json" target="_blank">openapi.json</a>; live socket, AsyncAPI 3: <a href="/api/v1/asyncapi.json" target="_blank">asyncapi.json</a></small></h1>
        <p class="pad">{doc.info.description}</p>
      </section>
      {Object.entries(doc.paths).flatMap(([path, operations]) => Object.entries(operations).map(([method, op]) => (
        <section class="panel" key={method + path}>
          <h2><code>{method.toUpperCase()} {path}</code> <small>{op.summary}</small></h2>
          <dl>
            <dt>May</dt><dd>{op['x-roles']?.join(', ').replace(/_/g, ' ') ?? 'anybody'}</dd>
            {op.parameters.length > 0 && <><dt>Takes</dt><dd>{op.parameters.map((p) => <div key={p.name}><code>{p.name}</code> in {p.in}{p.description ? `: ${p.description}` : ''}</div>)}</dd></>}
            {op.requestBody && <><dt>Body</dt><dd><Shape schema={op.requestBody.content['application/json'].schema} all={doc.components.schemas} /></dd></>}
            <dt>Answers</dt><dd><Shape schema={op.responses['200'].content!['application/json'].schema} all={doc.components.schemas} /></dd>
          </dl>
        </section>
      )))}
    </div>
  );
}
