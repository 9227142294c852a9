// The suite's own server, kept on 127.0.0.1 and on a port that the system picks: as it stands it would listen on every
// address of the machine. Argument: the suite's folder. Prints `Listening on http://127.0.0.1:PORT/`.

import net from 'node:net'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const listen = net.Server.prototype.listen
net.Server.prototype.listen = function () { return listen.call(this, 0, '127.0.0.1') }

await import(pathToFileURL(path.join(process.argv[2], 'server/server.mjs')))
