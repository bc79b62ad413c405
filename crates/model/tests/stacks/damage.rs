//! Registers, stacks and files that lie: no panic, no endless loop, the same twice.

use std::path::Path;

use crate::fuzz_unwind::{CODE, unwind};
use crate::tiny::{self, TEXT, With, cfa, function};

/// Where the stacks of sound inputs begin.
const STACK: u64 = 0x7ffc_0000_0000;

/// Mutations; `AGENTTRACE_MUTATIONS` tries more.
const MUTATIONS: usize = 3_000;

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }
}

/// Sound inputs: every form of tables, on both machines, in code of each kind.
fn seeds() -> Vec<Vec<u8>> {
    let rules: [&[u8]; 9] = [
        cfa::SUB_24,
        cfa::FRAME_POINTER,
        cfa::UNDEFINED,
        cfa::REALIGNED,
        cfa::BY_RBX,
        cfa::SIGNAL,
        cfa::ENDLESS,
        cfa::NOTHING,
        cfa::FAR,
    ];
    let starts = (0..).map(|number| TEXT + number * 0x100);
    let functions: Vec<_> =
        starts.zip(rules).map(|(start, rules)| function(start, rules)).collect();
    let mut seeds = Vec::new();
    for with in [With::Everything, With::NoIndex, With::DebugFrame, With::Nothing] {
        let file = tiny::elf(&functions, with, &[TEXT + 0x20]);
        for (number, of) in functions.iter().enumerate() {
            for machine in 0..2 {
                let ip = CODE + of.start + 0x10;
                let back = CODE + TEXT + 0x20 + 0x100 * (number as u64 % 3);
                let mut seed = vec![machine | 4, 8];
                let regs = if machine == 0 {
                    [1, STACK + 32, STACK + 48, STACK, ip, 6]
                } else {
                    [1, 2, STACK + 48, back, STACK, ip]
                };
                let stack = (0..16).map(|word| if word % 3 == 2 { STACK + 8 * word } else { back });
                seed.extend(regs.into_iter().chain(stack).flat_map(u64::to_le_bytes));
                seed.extend(&file);
                seeds.push(seed);
            }
        }
    }
    seeds
}

#[test]
fn seeds_and_mutations() {
    let mutations = std::env::var("AGENTTRACE_MUTATIONS").ok();
    let mutations = mutations.and_then(|n| n.parse().ok()).unwrap_or(MUTATIONS);
    let seeds = seeds();
    for seed in &seeds {
        unwind(seed);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..mutations {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(6) {
            // Mostly where something stands: registers and stack, headers, tables, index.
            let at = match random.below(5) {
                0 => random.below(0x100),
                1 => 0xb2 + random.below(0xb0),
                2 => 0xb2 + 0x2000 + random.below(0x200),
                3 => 0xb2 + 0x3000 + random.below(0x80),
                _ => 0xb2 + 0x3c00 + random.below(0x200),
            };
            let extreme = [0, 0x7f, 0x80, 0xff, 0x2f, 0x0f, 0x10];
            if let Some(byte) = input.get_mut(at) {
                *byte = match random.below(3) {
                    0 => *byte ^ 1 << random.below(8),
                    1 => extreme[random.below(extreme.len())],
                    _ => random.next() as u8,
                };
            }
        }
        if random.below(16) == 0 {
            input.truncate(random.below(input.len()));
        }
        unwind(&input);
    }
}

/// Writes the corpus for the fuzzer, where `AGENTTRACE_CORPUS` names its folder.
#[test]
fn corpus_for_the_fuzzer() {
    let Some(folder) = std::env::var_os("AGENTTRACE_CORPUS") else { return };
    let folder = Path::new(&folder).join("unwind");
    std::fs::create_dir_all(&folder).expect("the corpus' folder is made");
    for (number, seed) in seeds().iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed is written");
    }
}
