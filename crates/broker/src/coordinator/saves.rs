//! What has to be saved, and whose answers wait for it.

use std::collections::HashMap;
use std::mem;

use bytes::Bytes;
use group::Row;
use metadata_api::{MAX_SAVE_BYTES, row_bytes};

use super::call::Held;

/// Rows go into one save up to this, so that a save is one entry of metadata's journal. A larger row goes alone.
const SAVE_BYTES: usize = 512 << 10;

/// One save's rows.
pub(super) type Rows = Vec<(Bytes, Option<Bytes>)>;

/// Rows that no save took yet, in the order in which their keys first came, each with its last value; and the answers that wait for
/// them.
#[derive(Default)]
pub(super) struct Gathered {
    rows: Rows,
    by_key: HashMap<Bytes, usize>,
    held: Vec<Held>,
}

/// Whether a save can hold the row.
pub(super) fn fits(row: &Row) -> bool {
    row_bytes(&row.key, row.value.as_deref()) <= MAX_SAVE_BYTES
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row must fit a save.
    pub(super) fn add(&mut self, row: Row) {
        let Row { key, value } = row;
        match self.by_key.get(&key) {
            Some(at) => self.rows[*at].1 = value,
            None => {
                self.by_key.insert(key.clone(), self.rows.len());
                self.rows.push((key, value));
            }
        }
    }

    /// The answer goes out after the rows that are here now.
    pub(super) fn hold(&mut self, held: Held) {
        self.held.push(held);
    }

    /// Takes all of it: saves, in the order in which they must be made, and who is answered after the last of them.
    pub(super) fn take(&mut self) -> (Vec<Rows>, Vec<Held>) {
        let Self { rows, held, .. } = mem::take(self);
        (split(rows, SAVE_BYTES), held)
    }
}

fn split(rows: Rows, most_bytes: usize) -> Vec<Rows> {
    let mut saves = Vec::new();
    let (mut save, mut bytes) = (Rows::new(), 0);
    for (key, value) in rows {
        let row = row_bytes(&key, value.as_deref());
        if most_bytes < bytes + row && !save.is_empty() {
            saves.push(mem::take(&mut save));
            bytes = 0;
        }
        bytes += row;
        save.push((key, value));
    }
    saves.push(save);
    saves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &'static str, value: Option<&'static str>) -> (Bytes, Option<Bytes>) {
        (Bytes::from_static(key.as_bytes()), value.map(|value| Bytes::from_static(value.as_bytes())))
    }

    #[test]
    fn of_several_values_of_a_key_the_last_is_saved_where_the_first_stood() {
        let mut gathered = Gathered::default();
        for (key, value) in [row("a", Some("1")), row("b", Some("1")), row("a", Some("2")), row("b", None), row("c", Some("1"))] {
            gathered.add(Row { key, value });
        }
        let (saves, held) = gathered.take();
        assert_eq!(saves, vec![vec![row("a", Some("2")), row("b", None), row("c", Some("1"))]]);
        assert!(held.is_empty() && gathered.is_empty());
        gathered.add(Row { key: row("b", None).0, value: None });
        assert_eq!(gathered.take().0, [vec![row("b", None)]], "what was taken is not known any more");
    }

    #[test]
    fn rows_beyond_one_save_go_into_the_next() {
        let rows = vec![row("a", Some("12")), row("b", Some("1")), row("c", Some("1")), row("d", None)];
        // 19, 18, 18 and 17 bytes.
        let saves = split(rows.clone(), 37);
        assert_eq!(saves.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(saves.concat(), rows);
        assert_eq!(split(rows.clone(), 36).len(), 3);
        assert_eq!(split(rows, 19).len(), 4);
    }

    #[test]
    fn a_row_fits_up_to_the_bound_of_a_save() {
        let row = |bytes| Row { key: Bytes::from_static(b"a"), value: Some(Bytes::from(vec![0; bytes])) };
        assert!(fits(&row(MAX_SAVE_BYTES - 17)) && !fits(&row(MAX_SAVE_BYTES - 16)));
    }
}
