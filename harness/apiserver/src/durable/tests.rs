//! What a power cut leaves behind: what was not synced may be there, or not, in any mixture.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;
use redb::{Database, StorageBackend};
use serde_json::json;

use super::{Keys, open, tables};
use crate::store::{Batch, Key, Store};

const LOG_CAPACITY: usize = 12;

/// What a disk has and what it has only been told.
#[derive(Debug, Clone, Default)]
struct Disk {
    synced: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Order>,
    /// Orders until the power is cut.
    fuse: usize,
}

#[derive(Debug, Clone)]
enum Order {
    Write(usize, Vec<u8>),
    Length(usize),
}

fn obey(image: &mut Vec<u8>, order: &Order) {
    match order {
        Order::Write(at, bytes) => {
            let end = at + bytes.len();
            image.resize(image.len().max(end), 0);
            image[*at..end].copy_from_slice(bytes);
        }
        Order::Length(length) => image.resize(*length, 0),
    }
}

impl Disk {
    fn take(&mut self, order: Order) -> Result<(), io::Error> {
        self.burn()?;
        obey(&mut self.current, &order);
        self.pending.push(order);
        Ok(())
    }

    fn burn(&mut self) -> Result<(), io::Error> {
        self.fuse = self.fuse.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        Ok(())
    }

    /// The disk after the cut: some of what was not synced is there, in pieces of a sector.
    fn after_the_cut(&self, random: &mut Pcg64) -> Vec<u8> {
        const SECTOR: usize = 512;
        let mut image = self.synced.clone();
        for order in &self.pending {
            match order {
                Order::Length(_) => {
                    if random.random::<bool>() {
                        obey(&mut image, order);
                    }
                }
                Order::Write(at, bytes) => {
                    let whole = random.random_ratio(1, 3);
                    for (number, piece) in bytes.chunks(SECTOR).enumerate() {
                        if whole || random.random::<bool>() {
                            obey(&mut image, &Order::Write(at + number * SECTOR, piece.to_vec()));
                        }
                    }
                }
            }
        }
        image
    }
}

#[derive(Debug, Clone, Default)]
struct Power(Arc<Mutex<Disk>>);

impl Power {
    fn with<R>(&self, work: impl FnOnce(&mut Disk) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn on(image: Vec<u8>, fuse: usize) -> Self {
        Self(Arc::new(Mutex::new(Disk { synced: image.clone(), current: image, pending: Vec::new(), fuse })))
    }
}

impl StorageBackend for Power {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.with(|disk| disk.current.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.with(|disk| {
            let at = usize::try_from(offset).unwrap();
            let found = disk.current.get(at..at + out.len());
            out.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.with(|disk| disk.take(Order::Length(usize::try_from(length).unwrap())))
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.with(|disk| {
            disk.burn()?;
            disk.synced = disk.current.clone();
            disk.pending.clear();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.with(|disk| disk.take(Order::Write(usize::try_from(offset).unwrap(), data.to_vec())))
    }
}

fn keys() -> Keys {
    Keys { certificate: "c".into(), certificate_key: "k".into(), token_key: vec![1, 2, 3] }
}

/// All that a store knows, to be compared.
#[derive(Debug, Clone, PartialEq)]
struct Snapshot {
    revision: u64,
    objects: BTreeMap<String, String>,
    changes: Vec<String>,
}

fn snapshot(store: &Store) -> Snapshot {
    let mut changes = Vec::new();
    for shelf in ["/a", "/b"] {
        // Where the log begins is part of it.
        let oldest = store.changes_since(shelf, 0, usize::MAX).expect_err("0 is compacted").oldest;
        changes.push(format!("{shelf} from {oldest}"));
        for change in store.changes_since(shelf, oldest, usize::MAX).unwrap() {
            let text = |object: &Option<Arc<crate::store::Object>>| {
                object.as_ref().map(|object| object.value.to_string())
            };
            changes.push(format!(
                "{} {:?} {:?} {:?}",
                change.revision,
                change.key,
                text(&change.before),
                text(&change.after)
            ));
        }
    }
    Snapshot {
        revision: store.revision(),
        objects: store
            .all()
            .map(|(shelf, key, object)| (format!("{shelf} {key:?}"), object.value.to_string()))
            .collect(),
        changes,
    }
}

/// A few writes of one request: all or none of them may be seen after the cut.
fn change(store: &mut Store, random: &mut Pcg64) -> Batch {
    for _ in 0..random.random_range(1..6) {
        let shelf: Arc<str> = if random.random::<bool>() { "/a".into() } else { "/b".into() };
        let key = Key::new("n", &format!("o{}", random.random_range(0..8)));
        if random.random_ratio(1, 4) {
            store.remove(&shelf, &key);
        } else {
            let padding = "x".repeat(random.random_range(0..6_000));
            let value =
                json!({"metadata": {"name": &*key.name}, "data": random.next_u64(), "padding": padding});
            store.put(&shelf, &key, value);
        }
    }
    store.take_unsaved().unwrap_or_else(|| Batch { revision: store.revision(), ..Batch::default() })
}

/// If this fails a power cut takes back what has been acknowledged, or leaves half of a request.
#[test]
fn what_was_acknowledged_survives_a_power_cut_and_nothing_is_torn() {
    let mut random = Pcg64::seed_from_u64(7);
    let mut image = {
        let power = Power::on(Vec::new(), usize::MAX);
        let database = open(power.clone()).unwrap();
        tables::write(&database, Some(&keys()), [&Batch { revision: 100, ..Batch::default() }]).unwrap();
        drop(database);
        power.with(|disk| disk.synced.clone())
    };
    let mut acknowledged = snapshot(&Store::new(LOG_CAPACITY));
    let (mut cuts, mut lost, mut kept) = (0, 0, 0);
    for _ in 0..150 {
        let power = Power::on(image, usize::MAX);
        let database: Database = open(power.clone()).unwrap();
        let (mut store, found) = tables::load(&database, LOG_CAPACITY).unwrap();
        store.follow();
        assert_eq!(found.token_key, keys().token_key);
        assert_eq!(snapshot(&store), acknowledged, "after {cuts} cuts");
        power.with(|disk| disk.fuse = random.random_range(0..120));
        let mut written = 0;
        let uncertain = loop {
            written += 1;
            assert!(written < 500, "the disk is told nothing");
            let batch = change(&mut store, &mut random);
            match tables::write(&database, None, [&batch]) {
                Ok(()) => acknowledged = snapshot(&store),
                Err(_) => break snapshot(&store),
            }
        };
        cuts += 1;
        image = power.with(|disk| disk.after_the_cut(&mut random));
        drop(database);
        let database = open(Power::on(image.clone(), usize::MAX)).unwrap();
        let after = snapshot(&tables::load(&database, LOG_CAPACITY).unwrap().0);
        assert!(after == acknowledged || after == uncertain, "cut {cuts}: {after:#?}\n{acknowledged:#?}");
        if after == uncertain && after != acknowledged {
            kept += 1;
        } else {
            lost += 1;
        }
        acknowledged = after;
    }
    assert!(lost > 20 && kept + lost == cuts, "the cuts hit nothing: {lost} lost, {kept} kept");
    assert!(acknowledged.revision > 300, "hardly anything was written: {}", acknowledged.revision);
}
