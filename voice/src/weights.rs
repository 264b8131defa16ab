//! The stages, loaded from the folder that `patchcord models pull` fills.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::detect::Detector;
use crate::error::{Error, Result};
use crate::g2p::Pronouncer;
use crate::models;
use crate::recognise::Recogniser;
use crate::runtime::Runtime;
use crate::speak::{Said, Speaker};
use crate::synthesise::Synthesizer;

/// A folder with all weights in it.
#[derive(Clone)]
pub struct Weights {
    folder: PathBuf,
    runtime: Runtime,
}

impl Weights {
    /// Looks whether all files are there, and loads the inference library.
    ///
    /// # Errors
    /// If a file is missing, or the library cannot be used.
    pub fn open(folder: &Path) -> Result<Weights> {
        let absent = |file: &&models::File| !folder.join(file.path).is_file();
        if let Some(file) = models::files().find(absent) {
            return Err(Error::Missing(folder.join(file.path)));
        }
        // The loader takes a relative path for one beside the program.
        let folder = std::path::absolute(folder).map_err(|error| Error::damaged(folder, error))?;
        Ok(Weights { runtime: Runtime::load(&folder.join(models::RUNTIME))?, folder })
    }

    /// # Errors
    /// If the model is damaged.
    pub fn detector(&self) -> Result<Detector> {
        Detector::load(&self.runtime, &self.folder.join("silero/silero_vad.onnx"))
    }

    /// # Errors
    /// If the model is damaged.
    pub fn recogniser(&self) -> Result<Recogniser> {
        Recogniser::load(&self.runtime, &self.folder.join("moonshine-tiny-en"))
    }

    /// # Errors
    /// If the dictionaries are damaged.
    pub fn pronouncer(&self) -> Result<Pronouncer> {
        Pronouncer::load(&self.runtime, &self.folder.join("hibari"))
    }

    /// # Errors
    /// If the model or the dictionaries are damaged.
    pub fn speaker(&self, said: Arc<Said>) -> Result<Speaker> {
        let synthesizer = Synthesizer::load(&self.runtime, &self.folder.join("hibari"))?;
        Ok(Speaker::new(self.pronouncer()?, synthesizer, said))
    }
}
