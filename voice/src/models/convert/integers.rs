//! Matrices that are stored as integers, multiplied as integers.
//!
//! What is looked for: a signed byte matrix, cast to float, times a scale, plus an offset that is a whole number of scales,
//! the same for the whole matrix. The same numbers are an unsigned byte matrix with a scale and a zero point, which ONNX
//! Runtime's `DynamicQuantizeMatMul` multiplies by what it makes bytes of itself. Unsigned, since processors without VNNI
//! multiply signed bytes by unsigned ones with too few bits for the sum:
//! <https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html>.
//!
//! * A product with such a matrix becomes that one node, also if the matrix is transposed before it.
//! * Rows picked out of one (an embedding) are picked as bytes, and made floats afterwards.
//! * Everything else, as convolutions, stays: the runtime makes their floats once, when it loads the model.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::{Attribute, Content, Graph, Node, Tensor, kind};

/// Where ONNX Runtime's own operators are.
pub(super) const DOMAIN: &str = "com.microsoft";

/// A matrix that is stored as integers.
#[derive(Clone)]
struct Stored<'a> {
    /// Weights: the signed bytes, the scale and the offset.
    signed: Cow<'a, str>,
    scale: Cow<'a, str>,
    offset: Cow<'a, str>,
    /// What an unsigned byte is when the float is zero.
    zero: u8,
    transposed: bool,
}

pub(super) fn multiply_as_integers(graph: &mut Graph<'_>) {
    let stored = stored(graph);
    let mut unsigned = Unsigned { made: Vec::new(), names: HashSet::new() };
    rewrite(&mut graph.nodes, &stored, &graph.weights, &mut unsigned);
    graph.weights.append(&mut unsigned.made);
    while drop_unused(graph) {}
}

/// The matrices, by the name of the floats that are made of each.
fn stored<'a>(graph: &Graph<'a>) -> HashMap<Cow<'a, str>, Stored<'a>> {
    let weights: HashMap<&str, &Tensor<'a>> = graph.weights.iter().map(|weight| (&*weight.name, weight)).collect();
    let makers: HashMap<&str, &Node<'a>> =
        graph.nodes.iter().flat_map(|node| node.outputs.iter().map(move |output| (&**output, node))).collect();
    // The node that makes a value, and its two inputs: the value before, and one number.
    let step = |value: &str, operator: &str| {
        let node = *makers.get(value).filter(|node| node.operator == operator && node.inputs.len() == 2)?;
        let number = weights.get(&*node.inputs[1]).filter(|weight| weight.kind == kind::FLOAT)?;
        Some((node, f32::from_le_bytes(number.content.as_ref().try_into().ok()?)))
    };
    let of = |sum: &Node<'a>| {
        let (sum, offset) = step(sum.outputs.first()?, "Add")?;
        let (product, scale) = step(&sum.inputs[0], "Mul")?;
        let cast = makers.get(&*product.inputs[0]).filter(|node| node.operator == "Cast")?;
        let signed = weights.get(&**cast.inputs.first()?).filter(|weight| weight.kind == kind::I8)?;
        let zero = 128.0 - offset / scale;
        let is_whole = (zero - zero.round()).abs() < 0.01 && (0.0..255.5).contains(&zero);
        (is_matrix(signed) && is_whole).then(|| Stored {
            signed: signed.name.clone(),
            scale: product.inputs[1].clone(),
            offset: sum.inputs[1].clone(),
            zero: zero.round() as u8,
            transposed: false,
        })
    };
    graph.nodes.iter().filter_map(|node| Some((node.outputs.first()?.clone(), of(node)?))).collect()
}

/// Whether its bytes are as many as its rows and columns say.
fn is_matrix(tensor: &Tensor<'_>) -> bool {
    let &[rows @ 1..=i64::MAX, columns @ 1..=i64::MAX] = &tensor.shape[..] else { return false };
    rows.checked_mul(columns) == i64::try_from(tensor.content.len()).ok()
}

/// The matrices as unsigned bytes.
struct Unsigned<'a> {
    made: Vec<Tensor<'a>>,
    names: HashSet<String>,
}

impl<'a> Unsigned<'a> {
    /// The names of the bytes and of their zero point.
    fn names_of(&mut self, stored: &Stored<'a>, weights: &[Tensor<'a>]) -> [Cow<'a, str>; 2] {
        let name = format!("{}_unsigned{}", stored.signed, if stored.transposed { "_transposed" } else { "" });
        let zero_name = format!("{name}_zero");
        if self.names.insert(name.clone())
            && let Some(signed) = weights.iter().find(|weight| weight.name == stored.signed)
        {
            let bytes: Vec<u8> = signed.content.iter().map(|byte| byte ^ 0x80).collect();
            let (shape, bytes) = match (stored.transposed, &signed.shape[..]) {
                (true, &[rows, columns]) => (vec![columns, rows], transpose(&bytes, columns as usize)),
                _ => (signed.shape.clone(), bytes),
            };
            self.made.push(Tensor { name: name.clone().into(), shape, kind: kind::U8, content: bytes.into() });
            let zero = vec![stored.zero].into();
            self.made.push(Tensor { name: zero_name.clone().into(), shape: vec![1], kind: kind::U8, content: zero });
        }
        [name.into(), zero_name.into()]
    }
}

fn transpose(bytes: &[u8], columns: usize) -> Vec<u8> {
    (0..columns).flat_map(|column| bytes.iter().skip(column).step_by(columns).copied()).collect()
}

/// In a graph and in those inside of it, which see what is around them.
fn rewrite<'a>(
    nodes: &mut Vec<Node<'a>>,
    around: &HashMap<Cow<'a, str>, Stored<'a>>,
    weights: &[Tensor<'a>],
    unsigned: &mut Unsigned<'a>,
) {
    let mut stored = around.clone();
    for mut node in std::mem::take(nodes) {
        for attribute in &mut node.attributes {
            if let Content::Graph(inside) = &mut attribute.content {
                rewrite(&mut inside.nodes, &stored, weights, unsigned);
            }
        }
        match (node.operator, &node.inputs[..], &node.outputs[..]) {
            ("Transpose", [matrix], [turned]) => {
                if let Some(matrix) = stored.get(matrix) {
                    let transposed = Stored { transposed: !matrix.transposed, ..matrix.clone() };
                    stored.insert(turned.clone(), transposed);
                }
            }
            ("MatMul", [factor, matrix], [_]) => {
                if let Some(matrix) = stored.get(matrix) {
                    let [bytes, zero] = unsigned.names_of(matrix, weights);
                    node.operator = "DynamicQuantizeMatMul";
                    node.domain = DOMAIN;
                    node.inputs = vec![factor.clone(), bytes, matrix.scale.clone(), zero];
                }
            }
            ("Gather", [matrix, _], [_]) => {
                if let Some(matrix) = stored.get(matrix).filter(|matrix| !matrix.transposed).cloned() {
                    nodes.extend(gather(node, &matrix));
                    continue;
                }
            }
            _ => {}
        }
        nodes.push(node);
    }
}

/// Bytes are picked, and made floats after it.
fn gather<'a>(mut node: Node<'a>, matrix: &Stored<'a>) -> [Node<'a>; 4] {
    let picked = node.outputs.remove(0);
    let part = |step: &str| -> Cow<'a, str> { format!("{picked}_{step}").into() };
    let then = |operator, inputs, output, attributes| Node {
        name: part(operator),
        operator,
        domain: "",
        inputs,
        outputs: vec![output],
        attributes,
    };
    node.inputs[0] = matrix.signed.clone();
    node.outputs = vec![part("bytes")];
    let to_float = Attribute { name: "to", content: Content::Int(i64::from(kind::FLOAT)) };
    let cast = then("Cast", vec![part("bytes")], part("floats"), vec![to_float]);
    let scaled = then("Mul", vec![part("floats"), matrix.scale.clone()], part("scaled"), Vec::new());
    let shifted = then("Add", vec![part("scaled"), matrix.offset.clone()], picked.clone(), Vec::new());
    [node, cast, scaled, shifted]
}

/// Drops nodes whose outputs nobody takes, and then weights of the outermost graph. Whether there may be more.
fn drop_unused(graph: &mut Graph<'_>) -> bool {
    let mut used = HashSet::new();
    note_used(graph, &mut used);
    let dropped = drop_nodes(graph, &used);
    graph.weights.retain(|weight| used.contains(&*weight.name));
    dropped
}

/// Names that some node takes, or that a graph gives. Two graphs may use one name for two things; then both count as used.
fn note_used(graph: &Graph<'_>, used: &mut HashSet<String>) {
    used.extend(graph.outputs.iter().map(|output| output.name.to_owned()));
    for node in &graph.nodes {
        used.extend(node.inputs.iter().map(|input| input.clone().into_owned()));
        for attribute in &node.attributes {
            if let Content::Graph(inside) = &attribute.content {
                note_used(inside, used);
            }
        }
    }
}

fn drop_nodes(graph: &mut Graph<'_>, used: &HashSet<String>) -> bool {
    let before = graph.nodes.len();
    graph.nodes.retain(|node| node.outputs.iter().any(|output| used.contains(&**output)));
    let mut dropped = graph.nodes.len() < before;
    for node in &mut graph.nodes {
        for attribute in &mut node.attributes {
            if let Content::Graph(inside) = &mut attribute.content {
                dropped |= drop_nodes(inside, used);
            }
        }
    }
    dropped
}
