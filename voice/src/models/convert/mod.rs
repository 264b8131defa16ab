//! A model that ONNX Runtime stored in its own format (`.ort`), written as ONNX, with its weights as they are.
//!
//! Such a file is run as it was stored: the runtime computes nothing in advance and fuses nothing. Moonshine base was stored
//! with its matrices as integers and three steps that make floats of each, so every token would make floats of the whole
//! model again. In ONNX, and multiplied as the integers that they are, it is several times faster, and hardly larger.
//!
//! [`flatbuffer`] and [`ort_format`] read, [`integers`] rewrites, [`onnx`] writes. The bytes that come out depend on the
//! bytes that go in and on nothing else, so what comes out has a hash as a download has.
//!
//! [`encoder`] writes another model, which is published without a graph.

mod encoder;
mod flatbuffer;
mod integers;
mod onnx;
mod ort_format;

use std::borrow::Cow;

pub use encoder::{PLACES, TOKENS, VECTOR, convert_encoder};

/// Why there is no converted model.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConvertError {
    #[error("it is no model in ONNX Runtime's format")]
    NotOrt,
    #[error("it is damaged: something of it would lie outside of it")]
    Damaged,
    #[error("it has {0}, which we do not convert")]
    Unknown(&'static str),
    /// An encoder's tensors.
    #[error("{0}")]
    Tensors(String),
}

/// The ONNX file of the model in `ort`, the bytes of an `.ort` file.
///
/// # Errors
/// If it is something else, is damaged, or has what the models that we know do not have.
pub fn convert(ort: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let mut model = ort_format::read(ort)?;
    integers::multiply_as_integers(&mut model.graph);
    Ok(onnx::write(&model))
}

/// A model, as far as both formats have it. Names and weights lie in the file that was read, unless they are new.
struct Model<'a> {
    ir_version: i64,
    /// Versions of the operators, by domain.
    operators: Vec<(&'a str, i64)>,
    graph: Graph<'a>,
}

struct Graph<'a> {
    name: &'a str,
    /// Each after those whose outputs it takes.
    nodes: Vec<Node<'a>>,
    weights: Vec<Tensor<'a>>,
    inputs: Vec<Value<'a>>,
    outputs: Vec<Value<'a>>,
}

struct Node<'a> {
    name: Cow<'a, str>,
    operator: &'a str,
    domain: &'a str,
    /// An empty name stands for an input that is left out.
    inputs: Vec<Cow<'a, str>>,
    outputs: Vec<Cow<'a, str>>,
    attributes: Vec<Attribute<'a>>,
}

struct Attribute<'a> {
    name: &'a str,
    content: Content<'a>,
}

enum Content<'a> {
    Float(f32),
    Int(i64),
    Text(&'a str),
    Tensor(Tensor<'a>),
    Graph(Graph<'a>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

struct Tensor<'a> {
    name: Cow<'a, str>,
    shape: Vec<i64>,
    /// A number of ONNX's `TensorProto.DataType`, which both formats use.
    kind: i32,
    /// Little-endian.
    content: Cow<'a, [u8]>,
}

/// The kinds of number that are looked into.
mod kind {
    pub const FLOAT: i32 = 1;
    pub const U8: i32 = 2;
    pub const I8: i32 = 3;
    pub const I64: i32 = 7;
}

/// What goes into a graph or comes out.
struct Value<'a> {
    name: &'a str,
    kind: i32,
    /// `None`: anything.
    shape: Option<Vec<Length<'a>>>,
}

enum Length<'a> {
    Any,
    Known(i64),
    /// The same wherever it has this name.
    Named(&'a str),
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use ort::session::{Session, SessionInputValue};
    use ort::value::Tensor as Input;
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::{Runtime, models};

    /// Has what the conversion looks for, and what it leaves alone: `tests/data/small_ort.py`.
    const SMALL: &[u8] = include_bytes!("../../../tests/data/small.ort");

    fn operators(graph: &Graph<'_>) -> Vec<String> {
        let inside = |node: &Node<'_>| -> Vec<String> {
            let graphs = node.attributes.iter().filter_map(|attribute| match &attribute.content {
                Content::Graph(graph) => Some(format!("[{}]", operators(graph).join(" "))),
                _ => None,
            });
            graphs.collect()
        };
        graph.nodes.iter().map(|node| [vec![node.operator.to_owned()], inside(node)].concat().join("")).collect()
    }

    fn weight<'a>(graph: &'a Graph<'_>, name: &str) -> &'a Tensor<'a> {
        graph.weights.iter().find(|weight| weight.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn products_with_stored_matrices_are_of_integers_and_all_else_stays() {
        let before = ort_format::read(SMALL).unwrap();
        let mut after = ort_format::read(SMALL).unwrap().graph;
        integers::multiply_as_integers(&mut after);
        // The matrix whose zero is no byte, and the convolution, keep their floats.
        let floats = "Cast Mul Add";
        let inside = "If[DynamicQuantizeMatMul][ConstantOfShape]";
        let wanted = format!("{floats} {floats} Gather {floats} MatMul DynamicQuantizeMatMul {inside} Conv");
        assert_eq!(operators(&after).join(" "), wanted);
        let product = weight(&after, "product_q_unsigned");
        let signed = weight(&before.graph, "product_q");
        assert_eq!((product.kind, &product.shape), (kind::U8, &signed.shape));
        assert!(
            product
                .content
                .iter()
                .zip(&*signed.content)
                .all(|(&one, &other)| i16::from(one) == i16::from(other as i8) + 128)
        );
        // The model's offset is 7 scales.
        assert_eq!(*weight(&after, "product_q_unsigned_zero").content, [128 - 7]);
        // 6 rows of 4, the other way round.
        let turned = weight(&after, "words_q_unsigned_transposed");
        let words = weight(&before.graph, "words_q");
        assert_eq!(turned.shape, [4, 6]);
        assert!((0..24).all(|at| turned.content[at % 4 * 6 + at / 4] == words.content[at] ^ 0x80));
        // Rows are picked out of the bytes as they were; those of a product are there once.
        assert!(after.weights.iter().any(|weight| weight.name == "words_q"));
        assert!(after.weights.iter().all(|weight| weight.name != "product_q"));
    }

    #[test]
    fn what_comes_out_depends_on_what_goes_in_alone() {
        let hash = |bytes: Vec<u8>| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hash(convert(SMALL).unwrap()), "a768d436f8627cf73aa619017f1eb55447dd25b5521652825dc18b83f4463ccb");
    }

    #[test]
    fn a_damaged_model_is_an_error_and_no_panic() {
        assert_eq!(convert(b"neither one nor the other"), Err(ConvertError::NotOrt));
        // The last bytes may be a filler.
        for length in 0..SMALL.len() - 16 {
            assert!(convert(&SMALL[..length]).is_err(), "{length} bytes of it");
        }
        let mut bytes = SMALL.to_vec();
        for at in 0..bytes.len() {
            bytes[at] ^= 0xFF;
            let _ = convert(&bytes);
            bytes[at] ^= 0xFF;
        }
    }

    /// The inference library that the tests' weights have, or `None` after having said so.
    pub(super) fn runtime(test: &str) -> Option<Runtime> {
        let named = std::env::var_os("PATCHCORD_VOICE_MODELS").map(PathBuf::from);
        let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.voice-models"));
        match Runtime::load(&std::path::absolute(folder.join(models::RUNTIME)).unwrap()) {
            Ok(runtime) => Some(runtime),
            Err(error) => {
                assert!(std::env::var("CI").as_deref() != Ok("true"), "{test} needs the weights: {error}");
                println!("SKIPPED {test}: {error} (scripts/voice-models fetches them)");
                None
            }
        }
    }

    #[test]
    fn the_converted_model_computes_what_the_stored_one_does() {
        let Some(runtime) = runtime("the_converted_model_computes_what_the_stored_one_does") else { return };
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let mut stored = runtime.session(&file("small.ort", SMALL)).unwrap();
        let mut converted = runtime.session(&file("small.onnx", &convert(SMALL).unwrap())).unwrap();
        for yes in [true, false] {
            let (one, other) = (compute(&mut stored, yes), compute(&mut converted, yes));
            for ((name, one), (_, other)) in one.iter().zip(&other) {
                assert_eq!(one.len(), other.len(), "{name}");
                let largest = one.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
                // What goes into a product is rounded to one of 256 values.
                let near = |(one, other): (&f32, &f32)| (one - other).abs() <= 0.02 * largest;
                assert!(one.iter().zip(other).all(near), "{name}: {one:?} became {other:?}");
            }
        }
    }

    /// Each output, with its name.
    fn compute(session: &mut Session, yes: bool) -> Vec<(String, Vec<f32>)> {
        let sound = vec![0.1_f32, 0.2, -0.3, 0.4, 0.5, 0.6];
        let inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = vec![
            ("ids".into(), Input::from_array(([3], vec![0_i64, 3, 5])).unwrap().into()),
            ("yes".into(), Input::from_array(([1], vec![yes])).unwrap().into()),
            ("sound".into(), Input::from_array(([1, 1, 6], sound)).unwrap().into()),
        ];
        let outputs = session.run(inputs).unwrap();
        let of = |name: &str| outputs[name].try_extract_tensor::<f32>().unwrap().1.to_vec();
        ["five", "chosen", "rings"].map(|name| (name.to_owned(), of(name))).to_vec()
    }
}
