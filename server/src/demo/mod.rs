//! A whole phone call on this machine.

pub mod picture;
pub mod story;
pub mod timeline;
pub mod wav;

use std::path::PathBuf;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder that the call's files are left in.
    #[arg(long, value_name = "DIR", default_value = "patchcord-demo")]
    pub out: PathBuf,
    /// Another WAV as the caller's side.
    #[arg(long, value_name = "FILE")]
    pub caller: Option<PathBuf>,
    /// The model to talk to.
    #[arg(long)]
    pub model: Option<Model>,
    /// Print what others may parse.
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Model {
    /// One that plays a script, and needs nothing.
    Fake,
}

/// Whether the call did what it should.
///
/// # Errors
/// If the call could not be made.
pub async fn run(_args: Args) -> anyhow::Result<bool> {
    anyhow::bail!("not built yet")
}
