// `oauth4webapi` from npm, unmodified, against the server whose issuer is in the environment.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { API, CLIENTS, GENERATIONS, ISSUER, REDIRECT_URI, RESOURCE, SCOPE } from './ledger.mjs'
import { close, consent, losing, step } from './ledger.mjs'

// The library asks for this wherever it is to speak plain http, as here on loopback.
const loopback = { [oauth.allowInsecureRequests]: true }
const AUTHENTICATION = {
  client_secret_basic: oauth.ClientSecretBasic,
  client_secret_post: oauth.ClientSecretPost,
  none: oauth.None,
}

const as = await step('discovery', async () => {
  const issuer = new URL(ISSUER)
  const answer = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...loopback })
  const found = await oauth.processDiscoveryResponse(issuer, answer)
  assert.equal(found.issuer, ISSUER)
  assert.ok(found.code_challenge_methods_supported.includes('S256'))
  for (const method of Object.keys(CLIENTS)) {
    assert.ok(found.token_endpoint_auth_methods_supported.includes(method), method)
  }
  return found
})

/** The calls of one client, each request with the processing that belongs to it. */
function calls(id, auth) {
  const client = { client_id: id }
  return {
    async exchange() {
      const verifier = oauth.generateRandomCodeVerifier()
      const state = oauth.generateRandomState()
      const callback = await consent(id, await oauth.calculatePKCECodeChallenge(verifier), state)
      const parameters = oauth.validateAuthResponse(as, client, callback, state)
      const answer = await oauth.authorizationCodeGrantRequest(
        as, client, auth, parameters, REDIRECT_URI, verifier, loopback)
      return await oauth.processAuthorizationCodeResponse(as, client, answer)
    },
    async refresh(token, server = as) {
      const answer = await oauth.refreshTokenGrantRequest(server, client, auth, token, loopback)
      return await oauth.processRefreshTokenResponse(server, client, answer)
    },
    async credentials(scope) {
      const answer = await oauth.clientCredentialsGrantRequest(as, client, auth, { scope }, loopback)
      return await oauth.processClientCredentialsResponse(as, client, answer)
    },
    async revoke(token) {
      const answer = await oauth.revocationRequest(as, client, auth, token, loopback)
      await oauth.processRevocationResponse(answer)
    },
    async introspect(token) {
      const answer = await oauth.introspectionRequest(as, client, auth, token, loopback)
      return await oauth.processIntrospectionResponse(as, client, answer)
    },
  }
}

const api = calls(API.id, oauth.ClientSecretBasic(API.secret))

for (const [method, { id, secret }] of Object.entries(CLIENTS)) {
  const isPublic = secret === undefined
  const client = calls(id, AUTHENTICATION[method](secret))
  const asks = isPublic ? api : client
  let tokens

  await step(`${method}: code exchange with PKCE`, async () => {
    tokens = await client.exchange()
    assert.equal(tokens.token_type, 'bearer')
    assert.equal(tokens.scope, SCOPE)
  })
  if (!isPublic) {
    await step(`${method}: client credentials`, async () => {
      const own = await client.credentials('photos.read')
      assert.equal(own.refresh_token, undefined)
      const seen = await client.introspect(own.access_token)
      assert.deepEqual([seen.active, seen.sub, seen.scope], [true, id, 'photos.read'])
    })
  }
  await step(`${method}: refresh with rotation, ${GENERATIONS} generations`, async () => {
    const spent = new Set([tokens.refresh_token])
    for (let generation = 1; generation <= GENERATIONS; generation += 1) {
      tokens = await client.refresh(tokens.refresh_token)
      spent.add(tokens.refresh_token)
    }
    assert.equal(spent.size, GENERATIONS + 1)
  })
  await step(`${method}: refresh after a dropped connection gives the same successor`, async () => {
    const proxy = await losing(as.token_endpoint)
    const through = { ...as, token_endpoint: proxy.url }
    proxy.cut()
    await assert.rejects(client.refresh(tokens.refresh_token, through), TypeError)
    assert.equal(proxy.lost.length, 1)
    const again = await client.refresh(tokens.refresh_token, through)
    assert.equal(again.refresh_token, proxy.lost[0].refresh_token)
    tokens = await client.refresh(again.refresh_token, through)
    proxy.close()
  })
  await step(`${method}: introspection`, async () => {
    for (const who of new Set([asks, api])) {
      const seen = await who.introspect(tokens.access_token)
      assert.deepEqual([seen.active, seen.sub, seen.client_id], [true, 'alice', id])
      assert.deepEqual([seen.scope, [seen.aud].flat()], [SCOPE, [RESOURCE]])
    }
    assert.deepEqual(await asks.introspect('tla_unknown'), { active: false })
  })
  if (method === 'client_secret_basic') {
    await step(`${method}: the resource server checks the JWT access token alone`, async () => {
      const headers = { authorization: `Bearer ${tokens.access_token}` }
      const claims = await oauth.validateJwtAccessToken(
        as, new Request(RESOURCE, { headers }), RESOURCE, loopback)
      assert.deepEqual([claims.sub, claims.client_id, claims.scope], ['alice', id, SCOPE])
    })
  }
  await step(`${method}: revocation`, async () => {
    await client.revoke(tokens.access_token)
    assert.deepEqual(await asks.introspect(tokens.access_token), { active: false })
    tokens = await client.refresh(tokens.refresh_token)
    await client.revoke(tokens.refresh_token)
    assert.deepEqual(await asks.introspect(tokens.access_token), { active: false })
    await assert.rejects(client.refresh(tokens.refresh_token), { error: 'invalid_grant', status: 400 })
    await client.revoke(tokens.refresh_token)
  })
}

for (const [method, { id }] of Object.entries(CLIENTS).filter(([, { secret }]) => secret)) {
  await step(`${method}: a wrong secret is understood as invalid_client`, async () => {
    const wrong = calls(id, AUTHENTICATION[method]('tls_wrong'))
    const failure = await wrong.credentials('photos.read').catch((error) => error)
    assert.equal(failure.status, 401)
    // With a challenge the library reports that; without one it reads the error's body.
    if (failure instanceof oauth.WWWAuthenticateChallengeError) {
      assert.equal(failure.cause[0].scheme, 'basic')
    } else {
      assert.equal(failure.error, 'invalid_client')
    }
  })
}
close()
