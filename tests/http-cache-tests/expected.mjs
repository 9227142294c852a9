// expected.txt: what Larder makes of each test of the suite, one line a test, sorted. The list can only grow: writing it
// moves a test from `not passing` to `passing`, never back, and a test that does not pass stands there with a reason.

import fs from 'node:fs'

const SECTIONS = ['reasons', 'not passing', 'passing', 'checks']
const PASSING = ['pass', 'yes']

/** A reason quotes the sentence it stands on, and says whose it is. */
const QUOTATION = /^(RFC \d+, [\d.]+|Larder's contract): .*".+"/

/** Reads the list, and refuses what is not well formed. */
export function read (file) {
  const list = { file, head: [], edition: undefined, least: {}, reasons: new Map(), tests: new Map(), mistakes: [] }
  let section
  let reason
  for (const [index, line] of fs.readFileSync(file, 'utf8').split('\n').entries()) {
    const mistake = what => list.mistakes.push(`${file}:${index + 1}: ${what}`)
    const heading = line.match(/^\[(.+)\]$/)?.[1]
    if (heading !== undefined) {
      section = heading
      if (!SECTIONS.includes(section)) mistake(`no section is called ${section}`)
    } else if (line.startsWith('#') && section === undefined) {
      list.head.push(line)
    } else if (line.trim() === '') {
      reason = undefined
    } else if (section === undefined) {
      const [name, value] = line.split(/\s+/)
      if (name === 'edition') list.edition = value
      else list.least[name] = Number(value)
    } else if (section === 'reasons') {
      if (/^\S/.test(line)) list.reasons.set(reason = line.trim(), '')
      else list.reasons.set(reason, `${list.reasons.get(reason)} ${line.trim()}`.trim())
    } else {
      readTest(list, section, line, mistake)
    }
  }
  check(list)
  return list
}

function readTest (list, section, line, mistake) {
  const [verdict, kind, id, reason, ...rest] = line.trim().split(/\s+/)
  if (id === undefined || rest.length > 0) return mistake('a line is: verdict, kind, id, and a reason if it does not pass')
  if (list.tests.has(id)) return mistake(`${id} is listed twice`)
  const home = kind === 'check' ? 'checks' : verdict === 'pass' ? 'passing' : 'not passing'
  if (section !== home) mistake(`${id} belongs under [${home}]`)
  if (section === 'not passing' && reason === undefined) mistake(`${id} does not pass, and no reason is given`)
  if (section !== 'not passing' && reason !== undefined) mistake(`${id} needs no reason`)
  list.tests.set(id, { id, verdict, kind, reason })
}

function check (list) {
  const used = new Set([...list.tests.values()].map(({ reason }) => reason))
  for (const [name, text] of list.reasons) {
    if (!QUOTATION.test(text)) list.mistakes.push(`${list.file}: the reason ${name} quotes no sentence of an RFC or the contract`)
    if (!used.has(name)) list.mistakes.push(`${list.file}: no test has the reason ${name}`)
  }
  for (const { id, reason } of list.tests.values()) {
    if (reason !== undefined && !list.reasons.has(reason)) list.mistakes.push(`${list.file}: ${id}: no reason is called ${reason}`)
  }
}

/** Every difference between the list and what is: `{ id, better, text }`. */
export function differences (list, suite, judged) {
  const found = []
  for (const { id, kind, name } of suite.tests.values()) {
    const listed = list.tests.get(id)
    const { verdict, why } = judged.get(id)
    if (listed !== undefined && listed.verdict === verdict && listed.kind === kind) continue
    const was = listed === undefined ? 'not listed' : `listed as ${listed.verdict}`
    const better = kind === 'check' || PASSING.includes(verdict) || (listed !== undefined && listed.verdict !== 'pass')
    found.push({ id, better, text: `${id} (${kind}): ${was}, now ${verdict}${why && ` (${why})`}\n    ${name}` })
  }
  for (const id of list.tests.keys()) {
    if (!suite.tests.has(id)) found.push({ id, better: true, text: `${id}: listed, but the suite has no such test` })
  }
  return found
}

/** The list with what is now, as far as that is no worse; what is worse stays as it was listed. */
export function accepted (list, suite, judged, score) {
  const tests = new Map()
  for (const { id, kind } of suite.tests.values()) {
    const listed = list.tests.get(id)
    const { verdict } = judged.get(id)
    const worse = kind !== 'check' && verdict !== 'pass' && (listed === undefined || listed.verdict === 'pass')
    if (worse && listed === undefined) continue
    const passes = kind === 'check' || verdict === 'pass'
    tests.set(id, worse ? listed : { id, verdict, kind, reason: passes ? undefined : listed.reason })
  }
  const used = new Set([...tests.values()].map(({ reason }) => reason))
  const reasons = new Map([...list.reasons].filter(([name]) => used.has(name)))
  const least = {}
  for (const [kind, [passing]] of Object.entries(score)) least[kind] = Math.max(passing, list.least[kind] ?? 0)
  return { ...list, edition: suite.edition, least, reasons, tests }
}

export function write (list) {
  const all = [...list.tests.values()].sort((a, b) => a.id < b.id ? -1 : 1)
  const line = ({ verdict, kind, id, reason }) =>
    [verdict.padEnd(17), kind.padEnd(8), reason === undefined ? id : id.padEnd(50), reason ?? ''].join(' ').trimEnd()
  const lines = [...list.head, '', `edition ${list.edition}`]
  for (const [kind, least] of Object.entries(list.least)) lines.push(`${kind} ${least}`)
  lines.push('', '[reasons]')
  for (const [name, text] of list.reasons) lines.push(name, ...wrap(text).map(part => `    ${part}`), '')
  const sections = [
    ['not passing', all.filter(({ reason }) => reason !== undefined)],
    ['passing', all.filter(({ kind, reason }) => kind !== 'check' && reason === undefined)],
    ['checks', all.filter(({ kind }) => kind === 'check')]
  ]
  for (const [name, tests] of sections) lines.push(`[${name}]`, ...tests.map(line), '')
  fs.writeFileSync(list.file, lines.join('\n').trimEnd() + '\n')
}

/** Words in lines of at most 110 characters. */
function wrap (text) {
  const lines = ['']
  for (const word of text.split(' ')) {
    if (lines.at(-1).length + word.length > 110) lines.push('')
    lines[lines.length - 1] = `${lines.at(-1)} ${word}`.trim()
  }
  return lines
}
