// A certified OpenID Connect provider (npm oidc-provider) with made-up people, on a loopback port, for the tests.
// Reads JSON from the environment variable PROVIDER: {port, tools, people, keys, clients, access_seconds}.
// `people` is a file that is read again for every question, so that a test can take a claim away.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(process.env.PROVIDER);
const { default: Provider } = await import(pathToFileURL(`${settings.tools}/node_modules/oidc-provider/lib/index.js`));

const people = () => JSON.parse(readFileSync(settings.people, 'utf8'));
const issuer = `http://127.0.0.1:${settings.port}`;
const provider = new Provider(issuer, {
  clients: settings.clients.map((client) => ({
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    ...client,
  })),
  jwks: { keys: settings.keys },
  cookies: { keys: ['only-for-tests'] },
  pkce: { required: () => true },
  claims: { openid: ['sub', 'name', 'preferred_username', 'eduperson_affiliation', 'eduperson_entitlement', 'schac_home_organization'] },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: async () => settings.refresh !== false,
  rotateRefreshToken: () => true,
  ttl: { AccessToken: () => settings.access_seconds ?? 3600, IdToken: () => 600, Grant: () => 86400, Session: () => 86400, Interaction: () => 600, RefreshToken: () => 86400 },
  findAccount: async (ctx, sub) => {
    const claims = people()[sub];
    return claims && { accountId: sub, claims: async () => ({ sub, ...claims }) };
  },
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid');
    await grant.save();
    return grant;
  },
});

// What a person at a browser clicks on; a program that names nobody says no.
const chooser = () => '<!doctype html><meta charset="utf-8"><title>Provider</title><h1>Who are you?</h1>'
  + Object.entries(people()).map(([sub, { name }]) => `<p><a href="?who=${sub}">${name}</a></p>`).join('');

const answer = provider.callback();
createServer(async (request, response) => {
  const address = new URL(request.url, issuer);
  if (address.pathname.startsWith('/interaction/')) {
    const who = address.searchParams.get('who');
    if (who === null && request.headers.accept?.includes('text/html')) {
      response.setHeader('Content-Type', 'text/html; charset=utf-8').end(chooser());
      return;
    }
    const result = who === null
      ? { error: 'access_denied', error_description: 'the person said no' }
      : { login: { accountId: who } };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    return;
  }
  answer(request, response);
}).listen(settings.port, settings.host ?? '127.0.0.1', () => process.stdout.write('ready\n'));
