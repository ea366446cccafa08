//! Which activators stand in the path of a revision: a subset that hardly changes when activators come and go.
//!
//! Every address and the revision's name are hashed (64-bit FNV-1a) onto a ring of 2048 slots. From a start that
//! belongs to the revision, in steps that belong to it too, the next address on the ring that is not taken yet is
//! taken. As `knative.dev/pkg/hash` chooses.

use std::collections::{BTreeMap, BTreeSet};

/// Slots of the ring, and so the most addresses that it can hold.
const SLOTS: u64 = 1 << 11;

/// How often an address whose slot is taken is hashed again before it is left out. With one slot of all free a try
/// fails with probability 2047/2048, so that this many fail together less than once in 10^12 times.
const TRIES: u32 = 60_000;

/// `count` of `addresses` for `target`, in ascending order; all of them where there are no more. Equal inputs choose
/// equal subsets, whatever their order. Of more than 2048 addresses the first ones in ascending order take part.
///
/// ```
/// use windtunnel_kernel::routing::subset::choose;
///
/// let tasks = ["task1", "task2", "task3", "task4", "task5"];
/// assert_eq!(choose(&tasks, 2, "my-key1"), ["task3", "task4"]);
/// ```
#[must_use]
pub fn choose<'a, S: AsRef<str>>(addresses: &'a [S], count: usize, target: &str) -> Vec<&'a str> {
    let all: BTreeSet<&str> = addresses.iter().map(AsRef::as_ref).collect();
    if count >= all.len() {
        return all.into_iter().collect();
    }
    let ring = ring(all, target);
    let slots: Vec<u64> = ring.keys().copied().collect();
    let mut taken = vec![false; slots.len()];
    let mut angle = hash([target, "start-angle-salt"]) % SLOTS;
    let step = hash([target, "step-angle-salt"]) % SLOTS;
    for _ in 0..count.min(slots.len()) {
        let root = slots.partition_point(|&slot| slot < angle);
        let free = (root..slots.len()).chain(0..root).find(|&position| !taken[position]);
        if let Some(position) = free {
            taken[position] = true;
        }
        angle = (angle + step) % SLOTS;
    }
    let chosen = ring.values().zip(&taken).filter_map(|(&address, &is_taken)| is_taken.then_some(address));
    chosen.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Every address on a slot of its own.
fn ring<'a>(addresses: BTreeSet<&'a str>, target: &str) -> BTreeMap<u64, &'a str> {
    let mut ring = BTreeMap::new();
    for address in addresses.into_iter().take(SLOTS as usize) {
        let mut name = format!("{address}{target}");
        for _ in 0..TRIES {
            let hash = hash([&name]);
            if let std::collections::btree_map::Entry::Vacant(slot) = ring.entry(hash % SLOTS) {
                slot.insert(address);
                break;
            }
            // The hash is salt for the next try.
            name.push_str(&format!("{hash:x}"));
        }
    }
    ring
}

/// 64-bit FNV-1a over the parts one after the other.
fn hash<const N: usize>(parts: [&str; N]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    parts
        .iter()
        .flat_map(|part| part.bytes())
        .fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, hash};

    /// The published test values of FNV-1a; a wrong hash chooses other activators than upstream does.
    #[test]
    fn hashes_as_fnv_1a_does() {
        assert_eq!(hash([""]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(["a"]), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash(["foo", "bar"]), 0x8594_4171_f739_67e8);
    }

    /// Two names that share a slot (as upstream's test has them) are told apart by the salt.
    #[test]
    fn names_that_collide_get_slots_of_their_own() {
        let target = "e68a64e1-19d8-4855-9ffa-04f49223a059";
        let names = ["b08006d4-81f9-42ee-808b-ea18a39cbd83", "c9dc8df4-8c8d-4077-8750-6d2c2113a23b"];
        assert_eq!(hash([names[0], target]) % SLOTS, hash([names[1], target]) % SLOTS);
        assert_eq!(super::ring(names.into(), target).len(), 2);
    }
}
