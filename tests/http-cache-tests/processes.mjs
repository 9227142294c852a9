// Starts the suite's server, Larder before it and the suite's command line, and ends what it started: by its own child
// handles, in every case.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))

/** How long a process may take to say that it is ready, or to end when it is told to. */
const PATIENCE_MS = 20_000

/** How long all of the suite may take; it takes a quarter of a minute. */
const SUITE_MS = 240_000

const running = new Set()

for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143], ['SIGHUP', 129]]) {
  process.once(signal, () => process.exit(code))
}
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')))

/** A child with what it writes: `text` of stdout and stderr each, and a promise of its end. */
function start (program, args, options) {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  const text = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr']) {
    child[stream].setEncoding('utf8').on('data', part => { text[stream] += part })
  }
  running.add(child)
  const ended = new Promise(resolve => {
    child.once('error', error => resolve(`could not be started: ${error.message}`))
    child.once('close', (code, signal) => resolve(`ended with ${signal ?? code}`))
  }).finally(() => running.delete(child))
  return { child, text, ended }
}

/** The first thing `find` makes of what the process has written. */
async function said (name, { child, text, ended }, stream, find) {
  const deadline = Date.now() + PATIENCE_MS
  let end
  ended.then(how => { end = how })
  for (;;) {
    const found = find(text[stream])
    if (found !== undefined) return found
    if (end === undefined && Date.now() < deadline) {
      await Promise.race([once(child[stream], 'data'), ended, new Promise(resolve => setTimeout(resolve, 200))])
      continue
    }
    throw new Error(`${name} ${end ?? 'was not ready in time'}:\n${text.stdout}${text.stderr}`)
  }
}

async function stop ({ child, ended }) {
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS)
  await ended
  clearTimeout(late)
}

/** What npm would set for the suite and its server; no `LARDER_…` reaches the process under test. */
function environment (settings) {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(LARDER_|npm_)/.test(name)))
  for (const [name, value] of Object.entries(settings)) env[`npm_package_config_${name}`] = value
  return env
}

/** Calls `use` with the URL of a Larder that stands before the suite's server. */
export async function withLarder (suite, binary, use) {
  const started = []
  try {
    const settings = { protocol: 'http', port: '0', pidfile: path.join(suite, 'server.pid') }
    const origin = start(process.execPath, ['--no-warnings', path.join(here, 'origin.mjs'), suite],
      { cwd: suite, env: environment(settings) })
    started.push(origin)
    const upstream = await said('the suite\'s server', origin, 'stdout',
      text => text.match(/Listening on (http:\/\/127\.0\.0\.1:\d+)\//)?.[1])
    const larder = start(binary, ['run', '-c', path.join(here, 'larder.toml'), '--upstream', upstream,
      '--listen', '127.0.0.1:0', '--admin', 'off', '--log-format', 'json'],
    { env: { ...environment({}), RUST_LOG: 'info' } })
    started.unshift(larder)
    const address = await said('larder', larder, 'stderr', ready)
    const result = await use(`http://${address}`)
    if (larder.child.exitCode !== null || larder.child.signalCode !== null) {
      throw new Error(`larder ended while the suite ran:\n${larder.text.stderr}`)
    }
    return result
  } finally {
    for (const process of started) await stop(process)
  }
}

/** Where Larder listens, from the event of its log that tells it. */
function ready (log) {
  for (const line of log.split('\n')) {
    const address = line.includes('"ready"') && line.match(/"listen":"([^"]+)"/)?.[1]
    if (address) return address
  }
}

/** What the suite's own command line prints; with an id, for that test only. */
export async function commandLine (suite, base, id = '') {
  const cli = start(process.execPath, ['--no-warnings', 'cli.mjs'], { cwd: suite, env: environment({ base, id }) })
  let late = false
  const timer = setTimeout(() => { late = true; cli.child.kill('SIGKILL') }, SUITE_MS)
  const end = await cli.ended
  clearTimeout(timer)
  if (late || end !== 'ended with 0') {
    throw new Error(`the suite ${late ? 'took too long' : end}:\n${cli.text.stdout.slice(-2000)}${cli.text.stderr}`)
  }
  return cli.text.stdout.replace(/\x1b\[\d*m/g, '')
}
