//! Can records and recordings be written, and for how long?

use std::path::Path;

use super::Finding;

/// Calls fail to be recorded below this, and whoever else needs the disk, too.
const SPACE_LEAST: u64 = 100 << 20;

/// Below this it is time to think of it: a recording takes 16 KB a second, so this is 18 hours of calls.
const SPACE_WANTED: u64 = 1 << 30;

pub(super) fn data_folder(data: &Path) -> Finding {
    // It is made with the first call; until then, what it will be made in is looked at.
    let absolute = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
    let Some(there) = absolute.ancestors().find(|path| path.exists()) else {
        return Finding::fail("disk", format!("{} is on no disk", data.display()), "set PATCHCORD_DATA");
    };
    let shown = data.display();
    if let Err(error) = tempfile::tempfile_in(there) {
        let advice = "let the server's user write there, or set PATCHCORD_DATA";
        return Finding::fail("disk", format!("nothing can be written in {shown}: {error}"), advice);
    }
    match free(there) {
        None => Finding::ok("disk", format!("{shown} can be written")),
        Some(bytes) => {
            let found = format!("{shown} can be written, {} MB are free", bytes >> 20);
            let advice = "make room, or set PATCHCORD_DATA";
            match bytes {
                ..SPACE_LEAST => Finding::fail("disk", found, advice),
                SPACE_LEAST..SPACE_WANTED => Finding::warn("disk", found, advice),
                _ => Finding::ok("disk", found),
            }
        }
    }
}

/// Bytes that we may still use there.
#[cfg(unix)]
fn free(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn a_folder_that_is_not_there_yet_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        assert_ne!(data_folder(&data).level, Level::Fail);
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        // Whoever runs this, a file is no folder.
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let finding = data_folder(&file);
        assert_eq!(finding.level, Level::Fail);
        assert!(finding.advice.unwrap().contains("PATCHCORD_DATA"));
    }
}
