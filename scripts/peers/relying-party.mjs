// A relying party on npm express-openid-connect: / requires a login and returns the claims as JSON.
//   node relying-party.mjs PORT     MODULES, OIDC_ISSUER, OIDC_CLIENT_ID, OIDC_CLIENT_SECRET
import { createRequire } from 'node:module';
import { join } from 'node:path';

const port = process.argv[2];
const load = createRequire(join(process.env.MODULES, 'x.js'));
const express = load('express');
const { auth, requiresAuth } = load('express-openid-connect');

const app = express();
app.get('/health', (_, response) => response.send('ok'));
app.use(auth({
  issuerBaseURL: process.env.OIDC_ISSUER,
  baseURL: `http://127.0.0.1:${port}`,
  clientID: process.env.OIDC_CLIENT_ID,
  clientSecret: process.env.OIDC_CLIENT_SECRET,
  clientAuthMethod: process.env.OIDC_AUTH_METHOD || 'client_secret_basic',
  secret: 'signs the cookies of this test program alone',
  authRequired: false,
  idpLogout: true,
  authorizationParams: { response_type: 'code', scope: process.env.OIDC_SCOPE || 'openid email profile' },
}));
app.get('/', requiresAuth(), async (request, response) => {
  const userinfo = await request.oidc.fetchUserInfo().catch((error) => ({ error: String(error) }));
  response.json({ claims: request.oidc.idTokenClaims, userinfo });
});
app.use((error, _request, response, _next) => response.status(error.status || 500).json({ error: error.error || error.message, description: error.error_description }));
app.listen(Number(port), '127.0.0.1');
