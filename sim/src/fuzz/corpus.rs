//! Well-formed examples, to begin from. `sim/corpus/<target>.jsonl` has one a line; a session is a file of its own,
//! and so is a trace.

use std::path::Path;

/// The examples of a target.
///
/// # Panics
/// If there are none: then the target would be fed with noise only.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let lines = std::fs::read_to_string(folder.join(format!("{target}.jsonl"))).unwrap_or_default();
    let mut examples: Vec<Vec<u8>> =
        lines.lines().filter(|line| !line.is_empty()).map(|line| line.as_bytes().to_vec()).collect();
    if let Ok(files) = std::fs::read_dir(folder.join(target)) {
        let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        // The order of a folder is not the same everywhere.
        paths.sort();
        examples.extend(paths.iter().filter_map(|path| std::fs::read(path).ok()));
    }
    assert!(!examples.is_empty(), "no corpus for {target}");
    examples
}
