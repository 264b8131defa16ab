//! What can go wrong with weights and inference.

use std::path::{Path, PathBuf};

/// Why a stage cannot be had, or did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the weights is not there. The message says what to do.
    #[error("{} is missing: run `patchcord models pull`", .0.display())]
    Missing(PathBuf),
    /// The better recogniser was asked for, and a file of it is not there.
    #[error("{} is missing: run `patchcord models pull --recogniser base`, or use \"tiny\"", .0.display())]
    MissingBase(PathBuf),
    /// A file is there, and is not what it should be.
    #[error("{}: {why}; `patchcord models verify` says which files are damaged", .path.display())]
    Damaged { path: PathBuf, why: String },
    /// The runtime library refused.
    #[error("inference failed: {0}")]
    Inference(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn damaged(path: &Path, why: impl ToString) -> Error {
        Error::Damaged { path: path.to_owned(), why: why.to_string() }
    }
}

/// The library's error carries what was being built; only its words matter here.
impl<T> From<ort::Error<T>> for Error {
    fn from(error: ort::Error<T>) -> Self {
        Error::Inference(error.to_string())
    }
}

/// The whole of a file that belongs to the weights.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::Missing(path.to_owned()),
        _ => Error::damaged(path, error),
    })
}
