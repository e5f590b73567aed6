// What the npm clients share: their surroundings, the login application, a proxy that loses answers, and
// the report. Nothing in here speaks for a client.
import assert from 'node:assert/strict'
import net from 'node:net'

const read = (name) => process.env[name] ?? assert.fail(`${name} is not set: start this by tests/clients/run`)

export const ISSUER = read('LEDGER_ISSUER')
export const RESOURCE = read('LEDGER_RESOURCE')
export const REDIRECT_URI = read('LEDGER_REDIRECT_URI')
export const SCOPE = 'photos.read photos.write'
export const GENERATIONS = 10

/** The registered clients by their method of authentication; `api` is the resource server. */
export const CLIENTS = {
  client_secret_basic: { id: read('BASIC_ID'), secret: read('BASIC_SECRET') },
  client_secret_post: { id: read('POST_ID'), secret: read('POST_SECRET') },
  none: { id: read('PUBLIC_ID') },
}
export const API = { id: read('API_ID'), secret: read('API_SECRET') }

/** The login application: a person said yes; where the browser is sent back to, with a code. */
export async function consent(clientId, challenge, state) {
  const answer = await fetch(`${read('LEDGER_ADMIN')}/admin/grants`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${read('LEDGER_LOGIN_TOKEN')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      client_id: clientId,
      subject: 'alice',
      scope: SCOPE,
      resource: [RESOURCE],
      redirect_uri: REDIRECT_URI,
      code_challenge: challenge,
      code_challenge_method: 'S256',
    }),
  })
  const body = await answer.json()
  assert.ok(answer.ok, `POST /admin/grants: ${JSON.stringify(body)}`)
  const callback = new URL(REDIRECT_URI)
  callback.searchParams.set('code', body.code)
  callback.searchParams.set('state', state)
  return callback
}

/**
 * A TCP proxy before the server of `endpoint`. After `cut()` it reads the next whole answer, keeps its JSON
 * in `lost`, and resets the client's connection without a byte of it.
 */
export async function losing(endpoint) {
  const server = new URL(endpoint)
  const proxy = { lost: [], cut: () => (cutting = true), close: () => listener.close() }
  let cutting = false
  const listener = net.createServer((down) => {
    const up = net.connect(Number(server.port), server.hostname)
    let answer = Buffer.alloc(0)
    up.on('data', (bytes) => {
      if (!cutting) return down.write(bytes)
      answer = Buffer.concat([answer, bytes])
      const body = whole(answer)
      if (body === undefined) return
      cutting = false
      proxy.lost.push(JSON.parse(body))
      down.resetAndDestroy()
      up.destroy()
    })
    up.on('close', () => down.destroy())
    up.on('error', () => down.destroy())
    down.on('data', (bytes) => up.write(bytes))
    down.on('close', () => up.destroy())
    down.on('error', () => up.destroy())
  })
  await new Promise((done) => listener.listen(0, '127.0.0.1', done))
  const url = new URL(endpoint)
  url.port = String(listener.address().port)
  return Object.assign(proxy, { url: url.href })
}

/** The body of an answer once all of it is there. */
function whole(answer) {
  const end = answer.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const length = /^content-length: *(\d+)/im.exec(answer.subarray(0, end).toString('latin1'))
  const body = answer.subarray(end + 4)
  return length && body.length === Number(length[1]) ? body.toString('utf8') : undefined
}

let passed = 0
let failed = 0

/** Runs one step and says how it went; what it returns is for the next ones. */
export async function step(name, run) {
  try {
    const result = await run()
    passed += 1
    console.log(`ok    ${name}`)
    return result
  } catch (error) {
    failed += 1
    const why = error.cause === undefined ? '' : ` (${JSON.stringify(error.cause) ?? error.cause})`
    console.log(`FAIL  ${name}: ${String(error.message).split('\n').join(' ')}${why}`)
    return undefined
  }
}

/** The closing line, and the exit code. */
export function close() {
  console.log(`${passed} passed, ${failed} failed`)
  process.exit(failed === 0 && passed !== 0 ? 0 : 1)
}
