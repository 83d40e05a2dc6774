//! What has to be saved, and whose answers wait for it.

use std::collections::HashMap;
use std::mem;

use bytes::Bytes;
use group::Row;
use metadata_api::{MAX_SAVE_BYTES, row_bytes};

use super::call::Held;

/// With this much to save no more calls are made until a save took it, so that a save is ordinarily one entry of metadata's journal.
/// A single call may still change more.
const FULL_BYTES: usize = 512 << 10;

/// One save's rows, in the order in which their keys first came, each key once.
pub(super) type Rows = Vec<(Bytes, Option<Bytes>)>;

/// A call changed more at once than one save can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MoreThanOneSave;

/// Rows that no save took yet, and the answers that wait for them.
///
/// What one call changed in a group is never torn apart: a coordinator that loads the rows must not find a partition that was given to
/// one member and not yet taken from another.
#[derive(Default)]
pub(super) struct Gathered {
    /// To be made one after the other.
    saves: Vec<Save>,
    held: Vec<Held>,
}

#[derive(Default)]
struct Save {
    rows: Rows,
    by_key: HashMap<Bytes, usize>,
    /// At least what the rows count for.
    bytes: usize,
}

impl Save {
    fn put(&mut self, Row { key, value }: Row) {
        self.bytes += row_bytes(&key, value.as_deref());
        match self.by_key.get(&key) {
            Some(at) => self.rows[*at].1 = value,
            None => {
                self.by_key.insert(key.clone(), self.rows.len());
                self.rows.push((key, value));
            }
        }
    }
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.saves.is_empty()
    }

    /// Whether a save should take what is here before there is more.
    pub(super) fn is_full(&self) -> bool {
        FULL_BYTES <= self.saves.iter().map(|save| save.bytes).sum()
    }

    /// Adds what one call changed, or nothing of it.
    pub(super) fn add(&mut self, changed: Vec<Row>) -> Result<(), MoreThanOneSave> {
        self.add_within(changed, MAX_SAVE_BYTES)
    }

    fn add_within(&mut self, changed: Vec<Row>, most_bytes: usize) -> Result<(), MoreThanOneSave> {
        let bytes = |row: &Row| row_bytes(&row.key, row.value.as_deref());
        let (alone, together): (Vec<_>, Vec<_>) = changed.into_iter().partition(Row::stands_alone);
        let together_bytes = together.iter().map(bytes).sum();
        if most_bytes < together_bytes || alone.iter().any(|row| most_bytes < bytes(row)) {
            return Err(MoreThanOneSave);
        }
        if !together.is_empty() {
            let save = self.save_with_room(together_bytes, most_bytes);
            together.into_iter().for_each(|row| save.put(row));
        }
        for row in alone {
            self.save_with_room(bytes(&row), most_bytes).put(row);
        }
        Ok(())
    }

    /// The last save, or the next one if that has no room for so much.
    fn save_with_room(&mut self, bytes: usize, most_bytes: usize) -> &mut Save {
        match self.saves.pop_if(|save| save.bytes + bytes <= most_bytes) {
            Some(last) => self.saves.push(last),
            None => self.saves.push(Save::default()),
        }
        self.saves.last_mut().expect("one was pushed")
    }

    /// The answer goes out after the rows that are here now.
    pub(super) fn hold(&mut self, held: Held) {
        self.held.push(held);
    }

    /// Takes all of it: saves, in the order in which they must be made, and who is answered after the last of them.
    pub(super) fn take(&mut self) -> (Vec<Rows>, Vec<Held>) {
        let Self { saves, held } = mem::take(self);
        (saves.into_iter().map(|save| save.rows).collect(), held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group's own row, or a committed offset, by the kind that its key begins with: 19 bytes with a value, 18 without.
    fn row(kind: u8, name: u8, value: Option<u8>) -> Row {
        Row { key: Bytes::from(vec![kind, name]), value: value.map(|value| Bytes::from(vec![value])) }
    }

    fn member(name: u8, value: Option<u8>) -> Row {
        row(4, name, value)
    }

    fn offset(name: u8, value: Option<u8>) -> Row {
        row(2, name, value)
    }

    fn rows(rows: &[Row]) -> Rows {
        rows.iter().map(|Row { key, value }| (key.clone(), value.clone())).collect()
    }

    #[test]
    fn of_several_values_of_a_key_the_last_is_saved_where_the_first_stood() {
        let mut gathered = Gathered::default();
        gathered.add(vec![member(0, Some(1)), member(1, Some(1)), member(0, Some(2))]).unwrap();
        gathered.add(vec![member(1, None), member(2, Some(1))]).unwrap();
        let (saves, held) = gathered.take();
        assert_eq!(saves, [rows(&[member(0, Some(2)), member(1, None), member(2, Some(1))])]);
        assert!(held.is_empty() && gathered.is_empty());
        gathered.add(vec![member(1, None)]).unwrap();
        assert_eq!(gathered.take().0, [rows(&[member(1, None)])], "what was taken is not known any more");
    }

    #[test]
    fn what_a_call_changed_in_a_group_goes_into_one_save() {
        let mut gathered = Gathered::default();
        gathered.add_within(vec![member(0, Some(1)), member(1, Some(1))], 60).unwrap();
        // A partition goes from member 0 to a new one: between the two changes nobody may load.
        let moved = [member(0, Some(2)), member(2, Some(2))];
        gathered.add_within(moved.to_vec(), 60).unwrap();
        assert_eq!(gathered.take().0, [rows(&[member(0, Some(1)), member(1, Some(1))]), rows(&moved)]);

        let large: Vec<Row> = (0..4).map(|name| member(name, Some(1))).collect();
        assert_eq!(gathered.add_within(large.clone(), 75), Err(MoreThanOneSave));
        assert!(gathered.is_empty(), "nothing of it is saved");
        gathered.add_within(large.clone(), 76).unwrap();
        assert_eq!(gathered.take().0, [rows(&large)]);
    }

    #[test]
    fn committed_offsets_go_into_as_many_saves_as_they_need() {
        let mut gathered = Gathered::default();
        let removed: Vec<Row> = (0..5).map(|name| offset(name, None)).collect();
        let group = [member(8, None), member(9, None)];
        gathered.add_within([&removed[..], &group].concat(), 54).unwrap();
        let first = rows(&[group[0].clone(), group[1].clone(), removed[0].clone()]);
        assert_eq!(gathered.take().0, [first, rows(&removed[1..4]), rows(&removed[4..])]);
        assert_eq!(gathered.add_within(vec![offset(0, Some(1))], 18), Err(MoreThanOneSave));
    }

    #[test]
    fn a_call_may_change_as_much_as_a_save_holds() {
        let mut gathered = Gathered::default();
        let of = |bytes| vec![Row { key: Bytes::from_static(b"\x04"), value: Some(Bytes::from(vec![0; bytes])) }];
        assert!(!gathered.is_full());
        assert_eq!(gathered.add(of(MAX_SAVE_BYTES - 16)), Err(MoreThanOneSave));
        assert!(!gathered.is_full());
        gathered.add(of(FULL_BYTES - 17)).unwrap();
        assert!(gathered.is_full());
        gathered.add(of(MAX_SAVE_BYTES - 17)).unwrap();
        assert_eq!(gathered.take().0.len(), 2);
        assert!(!gathered.is_full());
    }
}
