//! Packing, for `build.rs` alone: the program only unpacks, as [`pack`](super::pack) explains.

use crate::pack::{CHARACTER, Context, DISTANCE, KIND, LENGTH, LOWEST, Odds, SHORTEST, learn};
use std::collections::HashMap;

/// A bit and the context in which it stands.
type Bit = (Context, bool);

/// Packs ASCII text.
pub fn pack(text: &[u8]) -> Vec<u8> {
    let copies = copies(text);
    // What a step costs depends on how often there are others like it, and what steps are taken
    // on what they cost: a few rounds settle that.
    let mut costs = Costs::default();
    let rounds = (0..12).map(|_| {
        let bits = cheapest(text, &copies, &costs);
        costs = Costs::of(&bits);
        encode(&bits)
    });
    rounds.min_by_key(Vec::len).unwrap()
}

/// One step: a character, or what has been there before.
#[derive(Clone, Copy)]
enum Step {
    Character(u8),
    Copy { distance: usize, length: usize },
}

impl Step {
    fn length(self) -> usize {
        match self {
            Step::Character(_) => 1,
            Step::Copy { length, .. } => length,
        }
    }

    /// Its bits. The kind of a step is told in a context of its own behind a copy.
    fn bits(self, behind_copy: bool) -> Vec<Bit> {
        let kind = KIND + u8::from(behind_copy);
        match self {
            Step::Character(byte) => {
                let bits = (0..7).map(|i| {
                    let known = (128 | byte) >> (7 - i);
                    (CHARACTER + known, byte >> (6 - i) & 1 == 1)
                });
                [(kind, false)].into_iter().chain(bits).collect()
            }
            Step::Copy { distance, length } => {
                let distance = number(DISTANCE, distance);
                let length = number(LENGTH, length - SHORTEST + 1);
                [(kind, true)].into_iter().chain(distance).chain(length).collect()
            }
        }
    }
}

/// The bits of a number of at least 1.
fn number(context: Context, number: usize) -> impl Iterator<Item = Bit> {
    let below = number.ilog2() as u8;
    let bits = (0..below).flat_map(move |i| {
        [(context + 2 * i, true), (context + 2 * i + 1, number >> (below - 1 - i) & 1 == 1)]
    });
    bits.chain([(context + 2 * below, false)])
}

/// For each place the copies that are possible there, as length and distance: for a length the
/// shortest distance.
fn copies(text: &[u8]) -> Vec<Vec<(usize, usize)>> {
    let mut places: HashMap<&[u8], Vec<usize>> = HashMap::new();
    let mut copies = vec![Vec::new(); text.len()];
    for (at, start) in text.windows(SHORTEST).enumerate() {
        let earlier = places.entry(start).or_default();
        let mut longest = SHORTEST - 1;
        for place in earlier.iter().rev() {
            let same = text[at..].iter().zip(&text[*place..]).take_while(|(a, b)| a == b).count();
            copies[at].extend((longest + 1..=same).map(|length| (length, at - place)));
            longest = longest.max(same);
        }
        earlier.push(at);
    }
    copies
}

/// What bits cost, by context, in parts of 1/1024 of a bit.
#[derive(Default)]
struct Costs(HashMap<Bit, u64>);

impl Costs {
    /// As they were in that sequence.
    fn of(bits: &[Bit]) -> Costs {
        let mut counts = HashMap::new();
        for bit in bits {
            *counts.entry(*bit).or_insert(0.) += 1.;
        }
        let count = |context, bit| counts.get(&(context, bit)).copied().unwrap_or(0.) + 0.4;
        let cost = |(context, bit)| {
            let share: f64 = count(context, bit) / (count(context, false) + count(context, true));
            (-share.log2() * 1024.).round() as u64
        };
        let contexts = counts.keys().flat_map(|(context, _)| [(*context, false), (*context, true)]);
        Costs(contexts.map(|bit| (bit, cost(bit))).collect())
    }

    fn sum(&self, bits: impl IntoIterator<Item = Bit>) -> u64 {
        bits.into_iter().map(|bit| self.0.get(&bit).copied().unwrap_or(1024)).sum()
    }
}

/// The bits of the steps that cost least together.
fn cheapest(text: &[u8], copies: &[Vec<(usize, usize)>], costs: &Costs) -> Vec<Bit> {
    let distances: Vec<u64> = (1..=text.len()).map(|n| costs.sum(number(DISTANCE, n))).collect();
    let lengths: Vec<u64> = (1..=text.len()).map(|n| costs.sum(number(LENGTH, n))).collect();
    // The best ways to each place, by whether the last step is a copy: what it costs, and that
    // step with whether it stands behind a copy.
    let mut ways = vec![[None::<(u64, Step, bool)>; 2]; text.len() + 1];
    for at in 0..text.len() {
        for behind_copy in [false, true] {
            let so_far = match ways[at][usize::from(behind_copy)] {
                Some((cost, ..)) => cost,
                None if at == 0 && !behind_copy => 0,
                None => continue,
            };
            let mut go = |step: Step, cost: u64| {
                let is_copy = matches!(step, Step::Copy { .. });
                let way = &mut ways[at + step.length()][usize::from(is_copy)];
                if way.is_none_or(|(least, ..)| so_far + cost < least) {
                    *way = Some((so_far + cost, step, behind_copy));
                }
            };
            let character = Step::Character(text[at]);
            go(character, costs.sum(character.bits(behind_copy)));
            let kind = costs.sum([(KIND + u8::from(behind_copy), true)]);
            for &(length, distance) in &copies[at] {
                let cost = kind + distances[distance - 1] + lengths[length - SHORTEST];
                go(Step::Copy { distance, length }, cost);
            }
        }
    }
    let mut steps = Vec::new();
    let mut at = text.len();
    let costs_here = ways[at].iter().enumerate().filter_map(|(i, way)| Some((way.as_ref()?.0, i)));
    let mut is_copy = costs_here.min().unwrap().1;
    while at > 0 {
        let (_, step, behind_copy) = ways[at][is_copy].unwrap();
        steps.push(step.bits(behind_copy));
        at -= step.length();
        is_copy = usize::from(behind_copy);
    }
    steps.into_iter().rev().flatten().collect()
}

/// The bytes that the unpacker makes those bits of: it gets the number back that it began with,
/// so they are put in from the last to the first.
fn encode(bits: &[Bit]) -> Vec<u8> {
    let mut all: Odds = [128; 256];
    // The unpacker learns from the first bit to the last: these are the odds it will have at each.
    let with_odds: Vec<(u32, bool)> = bits
        .iter()
        .map(|(context, bit)| {
            let odds = &mut all[usize::from(*context)];
            let set = u32::from(*odds);
            *odds = learn(*odds, *bit);
            (set, *bit)
        })
        .collect();
    let (mut number, mut bytes) = (LOWEST, Vec::new());
    for (set, bit) in with_odds.into_iter().rev() {
        let (start, range) = if bit { (0, set) } else { (set, 256 - set) };
        // The unpacker takes in a byte when its number is below `LOWEST`. Here one is given away
        // so that the number then gets there again.
        while number >= LOWEST * range {
            bytes.push(number as u8);
            number >>= 8;
        }
        number = (number / range) << 8 | (number % range + start);
    }
    while number > 0 {
        bytes.push(number as u8);
        number >>= 8;
    }
    bytes.reverse();
    bytes
}
