//! The format safetensors, read: the length of a header, the header in JSON, and the numbers of all tensors.

use std::collections::HashMap;

use serde::Deserialize;

/// What a file has, by name.
pub(crate) struct Tensors<'a> {
    header: HashMap<String, Entry>,
    numbers: &'a [u8],
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Tensor {
        dtype: String,
        shape: Vec<usize>,
        data_offsets: [usize; 2],
    },
    /// `__metadata__`, which is about none of them.
    Other(serde::de::IgnoredAny),
}

impl<'a> Tensors<'a> {
    /// # Errors
    /// If it is cut off, or its header is none.
    pub fn read(file: &'a [u8]) -> Result<Tensors<'a>, String> {
        let (length, rest) = file.split_first_chunk().ok_or("it ends before its header")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|error| error.to_string())?;
        let (header, numbers) = rest.split_at_checked(length).ok_or("it ends in its header")?;
        let header = serde_json::from_slice(header).map_err(|error| format!("its header: {error}"))?;
        Ok(Tensors { header, numbers })
    }

    pub fn has(&self, name: &str) -> bool {
        self.header.contains_key(name)
    }

    /// A tensor of so many dimensions, none of which is 0, and its numbers: halves (`F16`) or floats (`F32`), little-endian.
    ///
    /// # Errors
    /// If there is none of this name and kind, or not all of it.
    pub fn get<const N: usize>(&self, name: &str, dtype: &str) -> Result<([usize; N], &'a [u8]), String> {
        let Some(Entry::Tensor { dtype: found, shape, data_offsets: [begin, end] }) = self.header.get(name) else {
            return Err(format!("it has no {name}"));
        };
        let numbers = self.numbers.get(*begin..*end).ok_or_else(|| format!("it ends in {name}"))?;
        let width = if dtype == "F16" { 2 } else { 4 };
        let bytes = shape.iter().try_fold(width, |all: usize, length| all.checked_mul(*length));
        match <[usize; N]>::try_from(shape.as_slice()) {
            Ok(shape) if found == dtype && bytes == Some(numbers.len()) && bytes != Some(0) => Ok((shape, numbers)),
            _ => Err(format!("its {name} of {found} {shape:?} is not one of {dtype}, or not complete")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A file: the name, kind and shape of each tensor, and its numbers.
    pub(crate) fn file(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
        let (mut header, mut numbers) = (serde_json::Map::new(), Vec::new());
        for (name, dtype, shape, bytes) in tensors {
            let begin = numbers.len();
            numbers.extend_from_slice(bytes);
            let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, numbers.len()]});
            header.insert((*name).to_owned(), entry);
        }
        with_header(&serde_json::to_string(&header).unwrap(), &numbers)
    }

    fn with_header(header: &str, numbers: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), numbers].concat()
    }

    #[test]
    fn tensors_are_found_by_their_names() {
        let two = file(&[("one", "F16", &[2, 1], &[1, 2, 3, 4]), ("other", "F32", &[1], &[5, 6, 7, 8])]);
        let tensors = Tensors::read(&two).unwrap();
        assert_eq!(tensors.get("one", "F16"), Ok(([2, 1], &[1, 2, 3, 4][..])));
        assert_eq!(tensors.get("other", "F32"), Ok(([1], &[5, 6, 7, 8][..])));
        assert!(tensors.has("one") && !tensors.has("third"));
        assert_eq!(tensors.get::<1>("third", "F32"), Err("it has no third".to_owned()));
        let about = with_header(r#"{"__metadata__": {"format": "pt"}}"#, &[]);
        assert_eq!(Tensors::read(&about).unwrap().get::<1>("__metadata__", "F32").ok(), None);
    }

    #[test]
    fn damaged_files_are_refused() {
        let numbers = [0; 8];
        let refused = |file: &[u8]| Tensors::read(file).and_then(|tensors| tensors.get::<2>("a", "F16")).is_err();
        let good = file(&[("a", "F16", &[2, 2], &numbers)]);
        assert!(!refused(&good));
        for cut in 0..good.len() {
            assert!(refused(&good[..cut]), "cut off after {cut} bytes");
        }
        let header = |shape: &str, end: usize| {
            with_header(
                &format!(r#"{{"a": {{"dtype": "F16", "shape": {shape}, "data_offsets": [0, {end}]}}}}"#),
                &numbers,
            )
        };
        let wrong = [
            file(&[("a", "F32", &[2, 2], &numbers)]),
            header("[2, 3]", 8),
            header("[2, 2, 1]", 8),
            header("[0, 0]", 0),
            header(&format!("[2, {}]", usize::MAX), 8),
            header("[2, 2]", usize::MAX),
            [&u64::MAX.to_le_bytes(), &good[8..]].concat(),
            with_header("{}", &[]),
        ];
        for file in wrong {
            assert!(refused(&file), "{}", String::from_utf8_lossy(&file));
        }
    }
}
