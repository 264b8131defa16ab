//! The stages, loaded from the folder that `patchcord models pull` fills.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::detect::Detector;
use crate::error::{Error, Result};
use crate::g2p::Pronouncer;
use crate::models;
use crate::recognise::{Recogniser, Size};
use crate::runtime::Runtime;
use crate::sentences::Sentences;
use crate::speak::{Said, Speaker};
use crate::synthesise::Synthesizer;
use crate::turn_end::TurnEnd;

/// A folder with all weights in it.
#[derive(Clone)]
pub struct Weights {
    folder: PathBuf,
    runtime: Runtime,
    recogniser: Size,
}

impl Weights {
    /// Looks whether all files are there, and loads the inference library. It recognises with the better model if that is
    /// there too.
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
        let recogniser = if models::BASE.is_here(&folder) { Size::Base } else { Size::Tiny };
        Ok(Weights { runtime: Runtime::load(&folder.join(models::RUNTIME))?, folder, recogniser })
    }

    /// The same, but it recognises with the model of this size.
    ///
    /// # Errors
    /// If a file of that is missing.
    pub fn recognising_with(self, size: Size) -> Result<Weights> {
        let absent = |file: &&models::File| !self.folder.join(file.path).is_file();
        match models::BASE.files.iter().find(absent) {
            Some(file) if size == Size::Base => Err(Error::MissingBase(self.folder.join(file.path))),
            _ => Ok(Weights { recogniser: size, ..self }),
        }
    }

    /// The model that it recognises with.
    pub fn recogniser_size(&self) -> Size {
        self.recogniser
    }

    /// # Errors
    /// If the model is damaged.
    pub fn detector(&self) -> Result<Detector> {
        Detector::load(&self.runtime, &self.folder.join("silero/silero_vad.onnx"))
    }

    /// # Errors
    /// If the model is damaged.
    pub fn recogniser(&self) -> Result<Recogniser> {
        let folder = match self.recogniser {
            Size::Tiny => "moonshine-tiny-en",
            Size::Base => "moonshine-base-en",
        };
        Recogniser::load(&self.runtime, &self.folder.join(folder))
    }

    /// `None` if its weights, [`models::TURN_END`], are not here.
    ///
    /// # Errors
    /// If the model is damaged.
    pub fn turn_end(&self) -> Result<Option<TurnEnd>> {
        let load = || TurnEnd::load(&self.runtime, &self.folder.join("smart-turn/smart-turn-v3.2-cpu.onnx"));
        models::TURN_END.is_here(&self.folder).then(load).transpose()
    }

    /// `None` if its weights, [`models::SENTENCES`], are not here.
    ///
    /// # Errors
    /// If a file of it is damaged.
    pub fn sentences(&self) -> Result<Option<Sentences>> {
        let load = || Sentences::load(&self.runtime, &self.folder.join("minilm"));
        models::SENTENCES.is_here(&self.folder).then(load).transpose()
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
