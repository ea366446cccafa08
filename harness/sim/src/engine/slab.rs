//! Entities in reused slots, addressed by keys that go stale when the entity goes.

use serde::{Deserialize, Serialize};

/// Names one entity of a [`Slab`]. A key outlives its entity harmlessly: looking it up then gives `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The slot, which is unique among the entities alive at one time.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A growing table of entities whose slots are reused, last freed first.
///
/// ```
/// use windtunnel_sim::engine::Slab;
/// let mut slab = Slab::default();
/// let key = slab.insert("pod");
/// assert_eq!(slab.get(key), Some(&"pod"));
/// assert_eq!(slab.remove(key), Some("pod"));
/// slab.insert("another");
/// assert_eq!(slab.get(key), None);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Adds an entity.
    ///
    /// # Panics
    /// With more than 4 billion entities alive at once.
    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|| value)
    }

    /// Like [`Slab::insert`], of an entity that is made in its place.
    ///
    /// # Panics
    /// With more than 4 billion entities alive at once.
    #[inline(always)]
    pub fn insert_with(&mut self, make: impl FnOnce() -> T) -> Key {
        if self.free.is_empty() {
            self.grow();
        }
        let index = self.free.pop().expect("a slot that was free or is new");
        let slot = &mut self.slots[index as usize];
        slot.value = Some(make());
        Key { index, generation: slot.generation }
    }

    #[cold]
    fn grow(&mut self) {
        let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 entities");
        self.slots.push(Slot { generation: 0, value: None });
        self.free.push(index);
    }

    /// The entity, unless it is gone.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// The entity, unless it is gone.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// Takes the entity out; its key is stale from now on.
    #[inline]
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// Number of entities alive.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// True when no entity is alive.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every entity alive, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().zip(0_u32..).filter_map(|(slot, index)| {
            slot.value.as_ref().map(|value| (Key { index, generation: slot.generation }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event that outlives its pod must find nothing rather than the pod that took the slot.
    #[test]
    fn a_stale_key_never_finds_the_successor() {
        let mut slab = Slab::default();
        let first = slab.insert(1);
        let other = slab.insert(2);
        assert_eq!(slab.remove(first), Some(1));
        let successor = slab.insert(3);
        assert_eq!(successor.index(), first.index());
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(successor), Some(&mut 3));
        assert_eq!(slab.len(), 2);
        assert_eq!(slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [3, 2]);
        slab.remove(other);
        slab.remove(successor);
        assert!(slab.is_empty());
    }
}
