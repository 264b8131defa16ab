//! FlatBuffers, as far as `.ort` files need them: tables, strings and vectors, each bounded by the file.
//!
//! The format: <https://flatbuffers.dev/internals/>. A reader generated from the schema would be ten times as long.

use super::ConvertError;

type Result<T> = std::result::Result<T, ConvertError>;

/// A table: its fields are found by their number, and those not stored have their default.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    file: &'a [u8],
    at: usize,
    /// Where the places of its fields are listed, and how long that list is.
    places: usize,
    places_len: usize,
}

impl<'a> Table<'a> {
    /// The table that a file begins with, if the file calls itself `identifier`.
    pub(super) fn root(file: &'a [u8], identifier: [u8; 4]) -> Result<Self> {
        if file.get(4..8) != Some(&identifier) {
            return Err(ConvertError::NotOrt);
        }
        Self::new(file, behind(file, 0)?)
    }

    fn new(file: &'a [u8], at: usize) -> Result<Self> {
        let back = i64::from(i32::from_le_bytes(array(file, at)?));
        let places = usize::try_from(at as i64 - back).map_err(|_| ConvertError::Damaged)?;
        let places_len = usize::from(u16::from_le_bytes(array(file, places)?));
        Ok(Table { file, at, places, places_len })
    }

    /// Where a field lies; `None`: it has its default.
    fn place(&self, field: usize) -> Result<Option<usize>> {
        // After the lengths of the list and of the table.
        let entry = 4 + 2 * field;
        if entry + 2 > self.places_len {
            return Ok(None);
        }
        match u16::from_le_bytes(array(self.file, self.places + entry)?) {
            0 => Ok(None),
            place => Ok(Some(self.at + usize::from(place))),
        }
    }

    /// A number, stored in its own bytes, little-endian.
    fn number<const N: usize>(&self, field: usize) -> Result<[u8; N]> {
        self.place(field)?.map_or(Ok([0; N]), |place| array(self.file, place))
    }

    pub(super) fn u8(&self, field: usize) -> Result<u8> {
        self.number(field).map(u8::from_le_bytes)
    }

    pub(super) fn i32(&self, field: usize) -> Result<i32> {
        self.number(field).map(i32::from_le_bytes)
    }

    pub(super) fn i64(&self, field: usize) -> Result<i64> {
        self.number(field).map(i64::from_le_bytes)
    }

    pub(super) fn f32(&self, field: usize) -> Result<f32> {
        self.number(field).map(f32::from_le_bytes)
    }

    pub(super) fn table(&self, field: usize) -> Result<Option<Table<'a>>> {
        self.place(field)?.map(|place| Self::new(self.file, behind(self.file, place)?)).transpose()
    }

    /// Empty if it is left out.
    pub(super) fn text(&self, field: usize) -> Result<&'a str> {
        self.place(field)?.map_or(Ok(""), |place| text(self.file, place))
    }

    pub(super) fn tables(&self, field: usize) -> Result<Vec<Table<'a>>> {
        self.vector(field, 4, |file, place| Self::new(file, behind(file, place)?))
    }

    pub(super) fn texts(&self, field: usize) -> Result<Vec<&'a str>> {
        self.vector(field, 4, text)
    }

    pub(super) fn i64s(&self, field: usize) -> Result<Vec<i64>> {
        self.vector(field, 8, |file, place| array(file, place).map(i64::from_le_bytes))
    }

    pub(super) fn f32s(&self, field: usize) -> Result<Vec<f32>> {
        self.vector(field, 4, |file, place| array(file, place).map(f32::from_le_bytes))
    }

    pub(super) fn bytes(&self, field: usize) -> Result<&'a [u8]> {
        self.place(field)?.map_or(Ok(&[]), |place| counted(self.file, behind(self.file, place)?, 1))
    }

    fn vector<T>(&self, field: usize, size: usize, element: impl Fn(&'a [u8], usize) -> Result<T>) -> Result<Vec<T>> {
        let Some(place) = self.place(field)? else { return Ok(Vec::new()) };
        let start = behind(self.file, place)?;
        let count = counted(self.file, start, size)?.len() / size;
        (0..count).map(|number| element(self.file, start + 4 + number * size)).collect()
    }
}

fn text(file: &[u8], place: usize) -> Result<&str> {
    let bytes = counted(file, behind(file, place)?, 1)?;
    std::str::from_utf8(bytes).map_err(|_| ConvertError::Damaged)
}

/// What the offset at `place` leads to.
fn behind(file: &[u8], place: usize) -> Result<usize> {
    // Below 4 GiB plus the file's length, so that sums with it do not overflow on machines of 64 bits.
    Ok(place + u32::from_le_bytes(array(file, place)?) as usize)
}

/// The elements after their number.
fn counted(file: &[u8], at: usize, size: usize) -> Result<&[u8]> {
    let count = u32::from_le_bytes(array(file, at)?) as usize;
    let end = count.checked_mul(size).and_then(|length| length.checked_add(at + 4));
    end.and_then(|end| file.get(at + 4..end)).ok_or(ConvertError::Damaged)
}

fn array<const N: usize>(file: &[u8], at: usize) -> Result<[u8; N]> {
    file.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(ConvertError::Damaged)
}
