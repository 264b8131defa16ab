//! ONNX Runtime's own format, read. Fields are numbered as in its schema:
//! <https://github.com/microsoft/onnxruntime/blob/v1.23.2/onnxruntime/core/flatbuffers/schema/ort.fbs>.

use std::borrow::Cow;
use std::collections::HashMap;

use super::flatbuffer::Table;
use super::{Attribute, Content, ConvertError, Graph, Length, Model, Node, Tensor, Value};

type Result<T> = std::result::Result<T, ConvertError>;

/// Graphs inside graphs: what a damaged file may lead to is not endless.
const DEPTH_MAX: usize = 4;

pub(super) fn read(file: &[u8]) -> Result<Model<'_>> {
    let session = Table::root(file, *b"ORTM")?;
    let model = session.table(1)?.ok_or(ConvertError::Damaged)?;
    let operators = model.tables(1)?.iter().map(|set| Ok((set.text(0)?, set.i64(1)?))).collect::<Result<_>>()?;
    let inside = model.table(7)?.ok_or(ConvertError::Damaged)?;
    Ok(Model { ir_version: model.i64(0)?, operators, graph: graph(&inside, "model", 0)? })
}

fn graph<'a>(table: &Table<'a>, name: &'a str, depth: usize) -> Result<Graph<'a>> {
    if depth > DEPTH_MAX {
        return Err(ConvertError::Unknown("graphs inside graphs inside graphs"));
    }
    if !table.tables(7)?.is_empty() {
        return Err(ConvertError::Unknown("sparse weights"));
    }
    let weights: Vec<Tensor<'a>> = table.tables(0)?.iter().map(tensor).collect::<Result<_>>()?;
    let described: HashMap<&str, Table<'a>> =
        table.tables(1)?.into_iter().map(|value| Ok((value.text(0)?, value))).collect::<Result<_>>()?;
    let values = |names: Vec<&str>| -> Result<Vec<Value<'a>>> {
        names.iter().map(|name| value(described.get(name).ok_or(ConvertError::Damaged)?)).collect()
    };
    let (inputs, outputs) = (values(table.texts(5)?)?, values(table.texts(6)?)?);
    let nodes = table.tables(2)?.iter().map(|table| node(table, depth)).collect::<Result<_>>()?;
    Ok(Graph { name, nodes, weights, inputs, outputs })
}

fn node<'a>(table: &Table<'a>, depth: usize) -> Result<Node<'a>> {
    let names =
        |field| -> Result<Vec<Cow<'a, str>>> { Ok(table.texts(field)?.into_iter().map(Cow::Borrowed).collect()) };
    Ok(Node {
        name: table.text(0)?.into(),
        domain: table.text(2)?,
        operator: table.text(5)?,
        inputs: names(8)?,
        outputs: names(9)?,
        attributes: table.tables(10)?.iter().map(|table| attribute(table, depth)).collect::<Result<_>>()?,
    })
}

fn attribute<'a>(table: &Table<'a>, depth: usize) -> Result<Attribute<'a>> {
    let name = table.text(0)?;
    let content = match table.i32(2)? {
        1 => Content::Float(table.f32(3)?),
        2 => Content::Int(table.i64(4)?),
        3 => Content::Text(table.text(5)?),
        4 => Content::Tensor(tensor(&table.table(6)?.ok_or(ConvertError::Damaged)?)?),
        5 => Content::Graph(graph(&table.table(7)?.ok_or(ConvertError::Damaged)?, name, depth + 1)?),
        6 => Content::Floats(table.f32s(8)?),
        7 => Content::Ints(table.i64s(9)?),
        _ => return Err(ConvertError::Unknown("an attribute of strings, tensors or graphs")),
    };
    Ok(Attribute { name, content })
}

fn tensor<'a>(table: &Table<'a>) -> Result<Tensor<'a>> {
    if !table.texts(5)?.is_empty() {
        return Err(ConvertError::Unknown("weights that are strings"));
    }
    Ok(Tensor {
        name: table.text(0)?.into(),
        shape: table.i64s(2)?,
        kind: table.i32(3)?,
        content: table.bytes(4)?.into(),
    })
}

fn value<'a>(table: &Table<'a>) -> Result<Value<'a>> {
    let about = table.table(2)?.ok_or(ConvertError::Damaged)?;
    // Of the kinds of value that there are, 1 is a tensor.
    let Some(tensor) = about.table(2)?.filter(|_| about.u8(1) == Ok(1)) else {
        return Err(ConvertError::Unknown("inputs or outputs that are no tensors"));
    };
    let shape = tensor.table(1)?.map(|shape| shape.tables(0)?.iter().map(length).collect()).transpose()?;
    Ok(Value { name: table.text(0)?, kind: tensor.i32(0)?, shape })
}

fn length<'a>(table: &Table<'a>) -> Result<Length<'a>> {
    let Some(value) = table.table(0)? else { return Ok(Length::Any) };
    Ok(match value.u8(0)? {
        1 => Length::Known(value.i64(1)?),
        2 => Length::Named(value.text(2)?),
        _ => Length::Any,
    })
}
