// Duties that are missing on chain, by slot, and by disturbance.
//   watch BEACON_NODE OUT.json       follows a chain until its beacon node ends; writes what it saw
//   report GENESIS_S SLOT_S DISTURBANCES.jsonl GATE.json [STUB.json]
import fs from "node:fs";

const SLOTS_PER_EPOCH = 32;
const TAIL = 4; // slots at the end whose votes may still be on their way

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const bytes = (hex) => Buffer.from(hex.slice(2), "hex");
const has = (bits, index) => (bits[index >> 3] >> (index & 7)) & 1;

async function watch(node, out) {
  const get = async (path) => {
    const answer = await fetch(node + path, {headers: {accept: "application/json"}});
    return answer.status === 200 ? await answer.json() : null;
  };
  const seen = {head: 0, blocks: {}, committees: {}, sync: {}};
  let answered = false;
  for (;;) {
    try {
      const head = Number((await get("/eth/v1/beacon/headers/head")).data.header.message.slot);
      answered = true;
      const epoch = Math.floor(head / SLOTS_PER_EPOCH);
      for (const e of [epoch, epoch + 1]) {
        if (seen.committees[e * SLOTS_PER_EPOCH]) continue;
        const found = await get(`/eth/v1/beacon/states/head/committees?epoch=${e}`);
        for (const {slot, index, validators} of found?.data ?? []) (seen.committees[slot] ??= {})[index] = validators;
      }
      seen.sync[epoch] ??= (await get(`/eth/v1/beacon/states/head/sync_committees`))?.data.validators;
      // The last slots are read again: a reorganisation may have replaced them.
      for (let slot = Math.max(1, seen.head - TAIL); slot <= head; slot++) {
        const found = await get(`/eth/v2/beacon/blocks/${slot}`);
        delete seen.blocks[slot];
        if (!found || Number(found.data.message.slot) !== slot) continue;
        const {proposer_index, body} = found.data.message;
        const votes = body.attestations.map((vote) => [vote.data.slot, vote.data.index, vote.aggregation_bits]);
        seen.blocks[slot] = {proposer_index, votes, sync: body.sync_aggregate?.sync_committee_bits};
      }
      seen.head = head;
      fs.writeFileSync(out, JSON.stringify(seen));
    } catch (error) {
      if (answered && error.cause?.code === "ECONNREFUSED") return;
    }
    await sleep(1000);
  }
}

/** slot -> {blocks, votes, sync}: how many of each are missing. */
function lost(file) {
  const {head, blocks, committees, sync} = JSON.parse(fs.readFileSync(file));
  const voted = new Set();
  for (const {votes} of Object.values(blocks)) {
    for (const [slot, index, hex] of votes) {
      const [bits, members] = [bytes(hex), committees[slot]?.[index] ?? []];
      members.forEach((validator, place) => has(bits, place) && voted.add(`${slot}/${validator}`));
    }
  }
  const result = {};
  for (let slot = 1; slot <= head - TAIL; slot++) {
    const members = Object.values(committees[slot] ?? {}).flat();
    const next = blocks[slot + 1]; // holds the sync messages of this slot
    const silent = new Set();
    if (next?.sync) {
      const committee = sync[Math.floor((slot + 1) / SLOTS_PER_EPOCH)] ?? [];
      committee.forEach((validator, place) => has(bytes(next.sync), place) || silent.add(validator));
    }
    result[slot] = {
      blocks: blocks[slot] ? 0 : 1,
      votes: members.filter((validator) => !voted.has(`${slot}/${validator}`)).length,
      sync: silent.size,
    };
  }
  return result;
}

const KINDS = ["blocks", "votes", "sync"];

function add(slots, wanted) {
  const sum = {blocks: 0, votes: 0, sync: 0};
  for (const [slot, missing] of Object.entries(slots)) {
    if (wanted(Number(slot))) KINDS.forEach((kind) => (sum[kind] += missing[kind]));
  }
  return sum;
}

function report(genesis, slotLength, disturbances, gateFile, stubFile) {
  const slotAt = (ms) => Math.floor((ms / 1000 - genesis) / slotLength);
  const lines = fs.readFileSync(disturbances, "utf8").split("\n").filter(Boolean);
  // The slot in which it ended is followed by one more: a vote may be late for its block.
  const windows = lines.map((line) => JSON.parse(line)).map((it) => ({...it, from: slotAt(it.from_ms), to: slotAt(it.to_ms) + 1}));
  const gate = lost(gateFile);
  const stub = stubFile && fs.existsSync(stubFile) ? lost(stubFile) : null;
  const within = (window) => (slot) => slot >= window.from && slot <= window.to;
  const show = (sum) => KINDS.map((kind) => String(sum[kind]).padStart(4)).join(" ");
  console.log(`${"".padEnd(44)} slots     pause ms   gate: block vote sync   stub: block vote sync`);
  const row = (name, slots, pause, wanted) =>
    console.log(`${name.padEnd(44)} ${slots.padEnd(9)} ${String(pause ?? "").padStart(8)}         ${show(add(gate, wanted))}         ${stub ? show(add(stub, wanted)) : ""}`);
  for (const window of windows) row(window.name, `${window.from}-${window.to}`, window.pause_ms, within(window));
  const undisturbed = (slot) => slot > 0 && !windows.some((window) => within(window)(slot));
  const last = Math.max(...Object.keys(gate).map(Number));
  row("all other slots", `1-${last}`, null, undisturbed);
  const free = ["reload", "certificate", "client restart", "one of two", "handover"];
  let bad = 0;
  for (const window of windows.filter((it) => free.some((name) => it.name.startsWith(name)))) {
    const [ours, theirs] = [add(gate, within(window)), stub ? add(stub, within(window)) : {blocks: 0, votes: 0, sync: 0}];
    const beyond = ["blocks", "votes"].reduce((sum, kind) => sum + Math.max(0, ours[kind] - theirs[kind]), 0);
    if (beyond > 0) { bad++; console.log(`${window.name} (slots ${window.from}-${window.to}): ${beyond} beyond the stub's`); }
  }
  process.exit(bad ? 1 : 0);
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === "watch") await watch(...rest);
else if (mode === "report") report(Number(rest[0]), Number(rest[1]), rest[2], rest[3], rest[4]);
else { console.error("watch or report"); process.exit(2); }
