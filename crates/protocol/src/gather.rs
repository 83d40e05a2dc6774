//! A frame under construction whose large parts are slices that are not copied.

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::LENGTH_BYTES;

/// Small fields go into one buffer; a slice is remembered with the place in that buffer which it follows.
pub(crate) struct Gather {
    head: BytesMut,
    slices: Vec<(usize, Bytes)>,
    sliced_bytes: usize,
}

impl Gather {
    /// An empty frame, with room for its length.
    pub(crate) fn for_frame() -> Self {
        let mut head = BytesMut::with_capacity(256);
        head.put_bytes(0, LENGTH_BYTES);
        Self { head, slices: Vec::new(), sliced_bytes: 0 }
    }

    /// Where small fields are written.
    pub(crate) fn head(&mut self) -> &mut BytesMut {
        &mut self.head
    }

    /// Puts `slice` behind everything written so far.
    pub(crate) fn push(&mut self, slice: Bytes) {
        if slice.is_empty() {
            return;
        }
        self.sliced_bytes += slice.len();
        self.slices.push((self.head.len(), slice));
    }

    /// The frame's slices in order, none of them empty; the error is the length that does not fit.
    pub(crate) fn into_frame(mut self) -> Result<Vec<Bytes>, usize> {
        let length = self.head.len() - LENGTH_BYTES + self.sliced_bytes;
        let prefix = i32::try_from(length).map_err(|_| length)?;
        self.head[..LENGTH_BYTES].copy_from_slice(&prefix.to_be_bytes());

        let head = self.head.freeze();
        let mut frame = Vec::with_capacity(2 * self.slices.len() + 1);
        let mut written = 0;
        for (position, slice) in self.slices {
            if written < position {
                frame.push(head.slice(written..position));
            }
            frame.push(slice);
            written = position;
        }
        if written < head.len() {
            frame.push(head.slice(written..));
        }
        Ok(frame)
    }
}
