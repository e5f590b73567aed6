// A TLS front before the server, as a proxy in production is: it decrypts, and changes nothing.
// Arguments: the server's port, files of key and certificate. Prints its URL once it listens.
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'

const [port, key, cert] = process.argv.slice(2)
const front = tls.createServer({ key: readFileSync(key), cert: readFileSync(cert) }, (down) => {
  const up = net.connect(Number(port), '127.0.0.1')
  down.on('error', () => up.destroy())
  up.on('error', () => down.destroy())
  down.pipe(up).pipe(down)
})
front.listen(0, '127.0.0.1', () => console.log(`https://127.0.0.1:${front.address().port}`))
