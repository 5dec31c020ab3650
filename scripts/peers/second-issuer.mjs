// A second, independent implementation of an OpenID provider: npm oauth2-mock-server. It has no login form: every login
// is the person that was set last.
//   node second-issuer.mjs PORT            MODULES=folder with node_modules
// Control, for tests only, on PORT + 1: PUT /person {"sub": …} sets the person; POST /rotate-keys adds a new key and
// keeps the old one.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import http from 'node:http';

const [, , port] = process.argv;
const resolve = createRequire(join(process.env.MODULES, 'x.js')).resolve;
const { OAuth2Server } = await import(pathToFileURL(resolve('oauth2-mock-server')).href);
let person = { sub: 'dan', email: 'dan@example.com', email_verified: true, given_name: 'Dan' };
const server = new OAuth2Server();
await server.issuer.keys.generate('RS256');
await server.start(Number(port), '127.0.0.1');
server.issuer.url = `http://127.0.0.1:${port}`;
server.service.on('beforeTokenSigning', (token) => Object.assign(token.payload, person));
server.service.on('beforeUserinfo', (answer) => { answer.body = person; });

http.createServer(async (request, response) => {
  let text = '';
  for await (const chunk of request) text += chunk;
  if (request.url === '/person') person = JSON.parse(text);
  if (request.url === '/rotate-keys') await server.issuer.keys.generate('RS256');
  response.writeHead(200).end('{}');
}).listen(Number(port) + 1, '127.0.0.1');
