// A SCIM 2.0 target on npm scimmy and scimmy-routers, in memory. PATCH answers 200 with the resource.
//   node scimmy.mjs PORT            MODULES=folder with node_modules
// Control: GET /control/state, GET|DELETE /control/requests,
//          POST /control/faults [{"method":"POST","path":"/Users","status":429,"headers":{"Retry-After":"2"},"times":3}]
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

const port = process.argv[2];
const resolve = createRequire(join(process.env.MODULES, 'x.js')).resolve;
async function load(name) {
  let module = await import(pathToFileURL(resolve(name)).href);
  while (module && typeof module !== 'function' && module.default) module = module.default;
  return module;
}
const express = await load('express');
const SCIMMY = await load('scimmy');
const Routers = await load('scimmy-routers');

const stores = { User: new Map(), Group: new Map() };
const missing = (id) => new SCIMMY.Types.Error(404, null, `Resource ${id} not found`);

function keep(Resource, store, unique) {
  Resource.ingress(({ id: known }, data) => {
    if (known && !store.has(known)) throw missing(known);
    const name = data[unique]?.toLowerCase();
    for (const [id, other] of store) {
      if (id !== known && other[unique]?.toLowerCase() === name) throw new SCIMMY.Types.Error(409, 'uniqueness', `${unique} is taken`);
    }
    const id = known ?? randomUUID();
    const now = new Date().toISOString();
    const value = { ...JSON.parse(JSON.stringify(data)), id, meta: { created: store.get(id)?.meta.created ?? now, lastModified: now } };
    store.set(id, value);
    return value;
  });
  // Returns every resource for any filter, as many targets do: SCIMMY's own filter would compare userName with case.
  Resource.egress(({ id }) => {
    if (!id) return [...store.values()];
    if (!store.has(id)) throw missing(id);
    return store.get(id);
  });
  Resource.degress(({ id }) => { if (!store.delete(id)) throw missing(id); });
}

SCIMMY.Resources.declare(SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser, false));
SCIMMY.Resources.declare(SCIMMY.Resources.Group);
keep(SCIMMY.Resources.User, stores.User, 'userName');
keep(SCIMMY.Resources.Group, stores.Group, 'displayName');

let faults = [];
const requests = [];
const app = express();
app.use('/control', express.json());
app.get('/control/state', (_, response) => response.json({ Users: [...stores.User.values()], Groups: [...stores.Group.values()] }));
app.get('/control/requests', (_, response) => response.json(requests));
app.delete('/control/requests', (_, response) => { requests.length = 0; response.json([]); });
app.post('/control/faults', (request, response) => { faults = request.body; response.json(faults); });
app.use('/scim/v2', (request, response, next) => {
  response.on('finish', () => requests.push({ method: request.method, path: request.originalUrl, status: response.statusCode }));
  const fault = faults.find((f) => (!f.method || f.method === request.method) && request.path.startsWith(f.path || '/') && (f.times ?? 1) > 0);
  if (!fault) return next();
  fault.times = (fault.times ?? 1) - 1;
  const body = { schemas: ['urn:ietf:params:scim:api:messages:2.0:Error'], status: String(fault.status) };
  return response.status(fault.status).set(fault.headers || {}).type('application/scim+json').send(JSON.stringify(body));
});
app.use('/scim/v2', new Routers({
  type: 'bearer',
  baseUri: () => `http://127.0.0.1:${port}`,
  handler: (request) => {
    if (request.header('Authorization') !== 'Bearer scim-token') throw new Error('wrong token');
    return 'test';
  },
}));
app.listen(Number(port), '127.0.0.1');
