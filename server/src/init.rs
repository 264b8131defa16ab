//! `patchcord init`: a configuration to start from.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::config;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// File to write; one that is there is left alone.
    #[arg(long, value_name = "FILE", default_value = config::FILE)]
    pub out: PathBuf,
    /// Print the reference of all settings instead, as Markdown.
    #[arg(long, conflicts_with = "out")]
    pub reference: bool,
}

/// # Errors
/// If the file is there already, or cannot be written.
pub fn run(args: &Args) -> Result<()> {
    if args.reference {
        print!("{}", config::reference());
        return Ok(());
    }
    let name = args.out.display();
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&args.out) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{name} is there already, and was left as it is; choose another with --out FILE")
        }
        Err(error) => return Err(error).with_context(|| format!("{name} cannot be written")),
    };
    file.write_all(config::starter().as_bytes()).with_context(|| format!("{name} cannot be written"))?;
    println!("{name} is written. Set what its first lines name, then: patchcord check");
    Ok(())
}
