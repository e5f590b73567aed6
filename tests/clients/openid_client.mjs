// `openid-client` from npm, unmodified, as an OAuth client without OpenID.
import assert from 'node:assert/strict'
import * as openid from 'openid-client'
import { API, CLIENTS, GENERATIONS, ISSUER, RESOURCE, SCOPE } from './ledger.mjs'
import { close, consent, losing, step } from './ledger.mjs'

const AUTHENTICATION = {
  client_secret_basic: openid.ClientSecretBasic,
  client_secret_post: openid.ClientSecretPost,
  none: openid.None,
}

async function discover(id, auth) {
  // The library asks for this wherever it is to speak plain http, as here on loopback.
  const options = { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] }
  return await openid.discovery(new URL(ISSUER), id, {}, auth, options)
}

/** The same client, whose token endpoint stands somewhere else. */
function through(config, id, auth, endpoint) {
  const other = new openid.Configuration({ ...config.serverMetadata(), token_endpoint: endpoint }, id, {}, auth)
  openid.allowInsecureRequests(other)
  return other
}

const api = await discover(API.id, openid.ClientSecretBasic(API.secret))

for (const [method, { id, secret }] of Object.entries(CLIENTS)) {
  const isPublic = secret === undefined
  const auth = AUTHENTICATION[method](secret)
  let tokens

  const client = await step(`${method}: discovery`, async () => {
    const found = await discover(id, auth)
    const metadata = found.serverMetadata()
    assert.equal(metadata.issuer, ISSUER)
    assert.ok(metadata.supportsPKCE('S256'))
    assert.ok(metadata.token_endpoint_auth_methods_supported.includes(method))
    return found
  })
  const asks = isPublic ? api : client

  await step(`${method}: code exchange with PKCE`, async () => {
    const pkceCodeVerifier = openid.randomPKCECodeVerifier()
    const expectedState = openid.randomState()
    const challenge = await openid.calculatePKCECodeChallenge(pkceCodeVerifier)
    const callback = await consent(id, challenge, expectedState)
    tokens = await openid.authorizationCodeGrant(client, callback, { pkceCodeVerifier, expectedState })
    assert.equal(tokens.token_type, 'bearer')
    assert.equal(tokens.scope, SCOPE)
    assert.ok(0 < tokens.expiresIn())
  })
  if (!isPublic) {
    await step(`${method}: client credentials`, async () => {
      const own = await openid.clientCredentialsGrant(client, { scope: 'photos.read', resource: RESOURCE })
      assert.equal(own.refresh_token, undefined)
      const seen = await openid.tokenIntrospection(api, own.access_token)
      assert.deepEqual([seen.active, seen.sub, seen.scope], [true, id, 'photos.read'])
    })
  }
  await step(`${method}: refresh with rotation, ${GENERATIONS} generations`, async () => {
    const spent = new Set([tokens.refresh_token])
    for (let generation = 1; generation <= GENERATIONS; generation += 1) {
      tokens = await openid.refreshTokenGrant(client, tokens.refresh_token)
      spent.add(tokens.refresh_token)
    }
    assert.equal(spent.size, GENERATIONS + 1)
  })
  await step(`${method}: refresh after a dropped connection gives the same successor`, async () => {
    const proxy = await losing(client.serverMetadata().token_endpoint)
    const proxied = through(client, id, auth, proxy.url)
    proxy.cut()
    await assert.rejects(openid.refreshTokenGrant(proxied, tokens.refresh_token), TypeError)
    assert.equal(proxy.lost.length, 1)
    const again = await openid.refreshTokenGrant(proxied, tokens.refresh_token)
    assert.equal(again.refresh_token, proxy.lost[0].refresh_token)
    tokens = await openid.refreshTokenGrant(proxied, again.refresh_token)
    proxy.close()
  })
  await step(`${method}: refresh for less`, async () => {
    const narrow = await openid.refreshTokenGrant(client, tokens.refresh_token, { scope: 'photos.read' })
    assert.equal(narrow.scope, 'photos.read')
    tokens = await openid.refreshTokenGrant(client, narrow.refresh_token)
    assert.equal(tokens.scope, SCOPE)
  })
  await step(`${method}: introspection`, async () => {
    for (const who of new Set([asks, api])) {
      const seen = await openid.tokenIntrospection(who, tokens.access_token)
      assert.deepEqual([seen.active, seen.sub, seen.client_id], [true, 'alice', id])
      assert.deepEqual([seen.scope, [seen.aud].flat()], [SCOPE, [RESOURCE]])
    }
    assert.deepEqual(await openid.tokenIntrospection(asks, 'tla_unknown'), { active: false })
  })
  await step(`${method}: revocation`, async () => {
    await openid.tokenRevocation(client, tokens.access_token)
    assert.deepEqual(await openid.tokenIntrospection(asks, tokens.access_token), { active: false })
    tokens = await openid.refreshTokenGrant(client, tokens.refresh_token)
    await openid.tokenRevocation(client, tokens.refresh_token, { token_type_hint: 'access_token' })
    assert.deepEqual(await openid.tokenIntrospection(asks, tokens.access_token), { active: false })
    const refused = openid.refreshTokenGrant(client, tokens.refresh_token)
    await assert.rejects(refused, { error: 'invalid_grant', status: 400 })
  })
}
close()
