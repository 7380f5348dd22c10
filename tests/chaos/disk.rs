//! What a power cut leaves of a folder, worked out from everything that was done to it.
//!
//! A write is durable once its file was synced after it, and a name once its folder was. Of the
//! rest a disk may keep nothing, what came first, any part of it in any order, or single sectors.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What a disk keeps or loses as a whole.
const SECTOR: usize = 512;

/// The numbers in front of each entry of the log, each of eight bytes.
const HEAD: usize = 5;

#[derive(Default)]
pub(super) struct Disk {
    files: Vec<File>,
    /// The names as the program sees them: places in `files`.
    names: BTreeMap<String, usize>,
    /// The names that are durable.
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the folder was synced, in order.
    unsure_names: Vec<Naming>,
    /// Changes so far.
    clock: u64,
}

#[derive(Default, Clone)]
struct File {
    bytes: Vec<u8>,
    /// Changes since it was synced, in order, each with its time.
    unsure: Vec<(u64, Change)>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

enum Naming {
    Given(String, usize),
    Taken(String),
}

/// What becomes of changes that are not durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Fate {
    Dropped,
    /// Those before some moment are kept.
    Prefix,
    /// Each is kept or not.
    Reordered,
    /// Each sector of each is kept or not.
    Torn,
}

pub(super) const FATES: [Fate; 4] = [Fate::Dropped, Fate::Prefix, Fate::Reordered, Fate::Torn];

/// One change of the folder.
pub(super) struct StoreEntry<'a> {
    what: usize,
    file: usize,
    offset: usize,
    bytes: &'a [u8],
}

/// What a log says; its last entry may be half written.
pub(super) fn entries(log: &[u8]) -> impl Iterator<Item = StoreEntry<'_>> {
    let mut rest = log;
    std::iter::from_fn(move || {
        let (head, after) = rest.split_at_checked(8 * HEAD)?;
        let number = |place: usize| {
            let bytes = head[8 * place..8 * place + 8].try_into().expect("eight bytes");
            usize::try_from(i64::from_ne_bytes(bytes)).unwrap_or_default()
        };
        let (bytes, after) = after.split_at_checked(number(3))?;
        rest = after;
        Some(StoreEntry { what: number(0), file: number(1), offset: number(2), bytes })
    })
}

impl Disk {
    /// A folder as it is, all of it durable.
    pub(super) fn of(folder: &Path) -> Disk {
        let mut disk = Disk::default();
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let entry = entry.expect("an entry");
            let bytes = std::fs::read(entry.path()).expect("it can be read");
            disk.files.push(File { bytes, unsure: Vec::new() });
            let name = entry.file_name().to_string_lossy().into_owned();
            disk.names.insert(name, disk.files.len() - 1);
        }
        disk.durable_names = disk.names.clone();
        disk
    }

    /// Takes over what was done.
    pub(super) fn follow<'a>(&mut self, entries: impl Iterator<Item = StoreEntry<'a>>) {
        let mut descriptors = HashMap::new();
        for StoreEntry { what, file, offset, bytes } in entries {
            self.clock += 1;
            match what {
                1 => {
                    let name = String::from_utf8_lossy(bytes).into_owned();
                    let place = self.open(name);
                    descriptors.insert(file, place);
                    if offset != 0 {
                        self.change(place, Change::Resize(0));
                    }
                }
                2 => self.change(descriptors[&file], Change::Write(offset, bytes.to_vec())),
                3 => self.change(descriptors[&file], Change::Resize(offset)),
                4 => self.sync(descriptors[&file]),
                5 => self.delete(&String::from_utf8_lossy(bytes)),
                6 => self.sync_folder(),
                other => panic!("{other} is no entry"),
            }
        }
    }

    fn open(&mut self, name: String) -> usize {
        if let Some(place) = self.names.get(&name) {
            return *place;
        }
        let place = self.files.len();
        self.files.push(File::default());
        self.names.insert(name.clone(), place);
        self.unsure_names.push(Naming::Given(name, place));
        place
    }

    fn change(&mut self, place: usize, change: Change) {
        self.files[place].unsure.push((self.clock, change));
    }

    fn sync(&mut self, place: usize) {
        let file = &mut self.files[place];
        for (_, change) in std::mem::take(&mut file.unsure) {
            change.apply(&mut file.bytes);
        }
    }

    fn delete(&mut self, name: &str) {
        self.names.remove(name);
        self.unsure_names.push(Naming::Taken(name.to_owned()));
    }

    fn sync_folder(&mut self) {
        self.unsure_names.clear();
        self.durable_names = self.names.clone();
    }

    /// How many writes to files of this ending are not durable.
    pub(super) fn unsure(&self, ending: &str) -> usize {
        let named = self.names.iter().filter(|(name, _)| name.ends_with(ending));
        named.map(|(_, place)| self.files[*place].unsure.len()).sum()
    }

    /// The power goes: what is left is written to `folder`, which is empty.
    pub(super) fn cut(&self, fate: Fate, random: &mut fastrand::Rng, folder: &Path) {
        let moment = random.u64(0..self.clock + 1);
        let mut names = self.durable_names.clone();
        let kept = random.usize(0..self.unsure_names.len() + 1);
        for naming in &self.unsure_names[..kept] {
            match naming {
                Naming::Given(name, place) => names.insert(name.clone(), *place),
                Naming::Taken(name) => names.remove(name),
            };
        }
        for (name, place) in names {
            let mut bytes = self.files[place].bytes.clone();
            for (at, change) in &self.files[place].unsure {
                match fate {
                    Fate::Dropped => {}
                    Fate::Prefix if moment < *at => {}
                    Fate::Prefix => change.apply(&mut bytes),
                    Fate::Torn => change.tear(random, &mut bytes),
                    Fate::Reordered if random.bool() => change.apply(&mut bytes),
                    Fate::Reordered => {}
                }
            }
            std::fs::write(folder.join(name), bytes).expect("it can be written");
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, new) => write(bytes, *offset, new),
            Change::Resize(size) => bytes.resize(*size, 0),
        }
    }

    fn tear(&self, random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
        let Change::Write(offset, new) = self else {
            if random.bool() {
                self.apply(bytes);
            }
            return;
        };
        let mut from = 0;
        while from < new.len() {
            let place = offset + from;
            let to = new.len().min(from + SECTOR - place % SECTOR);
            if random.bool() {
                write(bytes, place, &new[from..to]);
            }
            from = to;
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

#[test]
fn what_was_synced_is_kept_and_the_rest_may_go() {
    let entry = |what, file, offset, bytes| StoreEntry { what, file, offset, bytes };
    let done = || {
        let (sure, lost, late): (&[u8], &[u8], &[u8]) = (b"sure", b"lost", b"late");
        [
            entry(1, 1, 0, sure),
            entry(2, 1, 0, b"12345678"),
            entry(4, 1, 0, b""),
            entry(6, 0, 0, b""),
            entry(2, 1, 4, b"abcd"),
            entry(1, 2, 0, late),
            entry(2, 2, 0, lost),
            entry(4, 2, 0, b""),
        ]
    };
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let (mut disk, mut random) = (Disk::default(), fastrand::Rng::with_seed(seed));
        disk.follow(done().into_iter());
        let folder = tempfile::tempdir().expect("a folder");
        let fate = FATES[random.usize(0..FATES.len())];
        disk.cut(fate, &mut random, folder.path());
        let sure = std::fs::read(folder.path().join("sure")).expect("its name was synced");
        seen.insert((fate, sure, folder.path().join("late").exists()));
    }
    let contents = |fate: Fate| {
        let of = seen.iter().filter(|found| found.0 == fate);
        of.map(|(_, sure, is_there)| (&sure[..], *is_there)).collect::<Vec<_>>()
    };
    let (old, new): (&[u8], &[u8]) = (b"12345678", b"1234abcd");
    assert_eq!(contents(Fate::Dropped), [(old, false), (old, true)]);
    let all = [(old, false), (old, true), (new, false), (new, true)];
    for fate in [Fate::Prefix, Fate::Reordered, Fate::Torn] {
        assert_eq!(contents(fate), all, "{fate:?}");
    }
}
