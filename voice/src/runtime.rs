//! ONNX Runtime, loaded from a shared library when it is first needed: nothing is linked, so a machine without weights
//! builds and starts like any other.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use crate::error::{Error, Result};

/// The library has one environment in a process. A failure is not kept: weights may be fetched later.
static LOADED: Mutex<Option<Environment>> = Mutex::new(None);

/// A loaded inference library, from which sessions are made.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
}

impl Runtime {
    /// Loads the library at `path`, unless one is loaded already: a process has one.
    ///
    /// # Errors
    /// If there is no such file, or it is no ONNX Runtime that this was built for.
    pub fn load(path: &Path) -> Result<Runtime> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(environment) = loaded.as_ref() {
            return Ok(Runtime { environment: environment.clone() });
        }
        if !path.exists() {
            return Err(Error::Missing(path.to_owned()));
        }
        let builder = ort::init_from(path).map_err(|error| Error::damaged(path, error))?;
        let environment = builder.with_name("patchcord").with_telemetry(false).build()?;
        *loaded = Some(environment.clone());
        Ok(Runtime { environment })
    }

    /// A session over the model in `path`. It computes on the thread that runs it, and on no other, so that a worker's
    /// priority is that of all its work.
    ///
    /// # Errors
    /// If the file is missing or is no model.
    pub(crate) fn session(&self, path: &Path) -> Result<Session> {
        if !path.exists() {
            return Err(Error::Missing(path.to_owned()));
        }
        let session = Session::builder(&self.environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .commit_from_file(path);
        session.map_err(|error| Error::damaged(path, error))
    }
}
