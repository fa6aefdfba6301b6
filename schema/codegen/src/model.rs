//! The schemas as the generators want them: read once from the compiler's `CodeGeneratorRequest`, checked, and owned.

use crate::annotation::Annotations;
use anyhow::{Context, Result, bail};
use capnp::schema_capnp::{code_generator_request, field, node, type_};
use capnp::{message::ReaderOptions, serialize};
use std::collections::HashMap;

/// Every message struct and every interface, each in the order of names.
pub struct Model {
    pub structs: Vec<Struct>,
    pub interfaces: Vec<Interface>,
}

/// A message.
pub struct Struct {
    id: u64,
    pub name: String,
    pub documentation: String,
    pub data_words: usize,
    pub pointers: usize,
    pub fields: Vec<Field>,
}

/// A field of a message.
pub struct Field {
    pub name: String,
    pub documentation: String,
    pub kind: Kind,
    /// A byte offset in the data section, or a pointer's index.
    pub place: usize,
}

/// What a message's field can hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    U16,
    U32,
    U64,
    Enum,
    Text,
    Data,
    U64List,
}

/// An interface.
pub struct Interface {
    pub id: u64,
    pub name: String,
    pub documentation: String,
    /// By ordinal.
    pub methods: Vec<Method>,
}

/// A method of an interface.
pub struct Method {
    pub name: String,
    pub documentation: String,
    /// The name of the struct of its parameters.
    pub params: String,
    /// The name of the struct of its results.
    pub results: String,
    pub annotations: Annotations,
}

impl Kind {
    /// Whether a value of it borrows from the message.
    pub fn borrows(self) -> bool {
        matches!(self, Self::Text | Self::Data | Self::U64List)
    }
}

impl Struct {
    /// Whether a value of it borrows from the message.
    pub fn borrows(&self) -> bool {
        self.fields.iter().any(|field| field.kind.borrows())
    }

    /// Bytes of the message without what texts, data and lists hold: framing, root pointer, the struct.
    pub fn fixed_bytes(&self) -> usize {
        (2 + self.data_words + self.pointers) * 8
    }
}

impl Model {
    /// Reads an encoded `CodeGeneratorRequest`.
    pub fn read(request: &[u8]) -> Result<Self> {
        let message = serialize::read_message(request, ReaderOptions::new()).context("the compiler's request")?;
        let request: code_generator_request::Reader<'_> = message.get_root().context("the compiler's request")?;
        let documentation = Documentation::read(request)?;
        let mut annotation_names = HashMap::new();
        for node in request.get_nodes()? {
            if let node::Annotation(_) = node.which()? {
                annotation_names.insert(node.get_id(), name_of(node)?);
            }
        }
        let mut structs = Vec::new();
        for node in request.get_nodes()? {
            if let node::Struct(structure) = node.which()? {
                let name = name_of(node)?;
                structs.push(read_struct(node.get_id(), structure, &documentation).context(name)?.named(node)?);
            }
        }
        let names = structs.iter().map(|structure: &Struct| (structure.id, structure.name.clone())).collect();
        let context = MethodContext { structs: names, annotation_names, documentation };
        let mut interfaces = Vec::new();
        for node in request.get_nodes()? {
            if let node::Interface(interface) = node.which()? {
                interfaces.push(context.read_interface(node, interface)?);
            }
        }
        structs.sort_by(|a, b| a.name.cmp(&b.name));
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { structs, interfaces })
    }

    /// The struct with this name.
    pub fn structure(&self, name: &str) -> Result<&Struct> {
        self.structs
            .iter()
            .find(|structure| structure.name == name)
            .with_context(|| format!("no struct is named {name}"))
    }
}

/// The comments of the schemas: of each node, and of its fields or methods by their index.
struct Documentation(HashMap<u64, (String, Vec<String>)>);

impl Documentation {
    fn read(request: code_generator_request::Reader<'_>) -> Result<Self> {
        let mut nodes = HashMap::new();
        for info in request.get_source_info()? {
            let mut members = Vec::new();
            for member in info.get_members()? {
                members.push(one_line(member.get_doc_comment()?.to_str()?));
            }
            nodes.insert(info.get_id(), (one_line(info.get_doc_comment()?.to_str()?), members));
        }
        Ok(Self(nodes))
    }

    fn node(&self, id: u64, otherwise: impl FnOnce() -> String) -> String {
        let text = self.0.get(&id).map(|(text, _)| text.clone()).filter(|text| !text.is_empty());
        text.unwrap_or_else(otherwise)
    }

    fn member(&self, id: u64, index: usize, otherwise: impl FnOnce() -> String) -> String {
        let text = self.0.get(&id).and_then(|(_, members)| members.get(index)).filter(|text| !text.is_empty());
        text.cloned().unwrap_or_else(otherwise)
    }
}

fn one_line(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name without the file and the parents.
fn name_of(node: node::Reader<'_>) -> Result<String> {
    let name = node.get_display_name()?.to_str()?;
    Ok(name.rsplit([':', '.']).next().unwrap_or(name).to_string())
}

fn read_struct(id: u64, structure: node::struct_::Reader<'_>, documentation: &Documentation) -> Result<Struct> {
    let mut fields = Vec::new();
    for (index, field) in structure.get_fields()?.iter().enumerate() {
        let name = field.get_name()?.to_str()?.to_string();
        let field::Slot(slot) = field.which()? else { bail!("field {name}: messages have no groups") };
        let kind = kind_of(slot.get_type()?).with_context(|| format!("field {name}"))?;
        let unit = match kind {
            Kind::U16 | Kind::Enum => 2,
            Kind::U32 => 4,
            Kind::U64 => 8,
            Kind::Text | Kind::Data | Kind::U64List => 1,
        };
        let documentation = documentation.member(id, index, || format!("The field `{name}`."));
        fields.push(Field { name, documentation, kind, place: slot.get_offset() as usize * unit });
    }
    let (data_words, pointers) = (structure.get_data_word_count().into(), structure.get_pointer_count().into());
    let documentation = documentation.node(id, String::new);
    Ok(Struct { id, name: String::new(), documentation, data_words, pointers, fields })
}

impl Struct {
    fn named(mut self, node: node::Reader<'_>) -> Result<Self> {
        self.name = name_of(node)?;
        if self.documentation.is_empty() {
            self.documentation = format!("The message `{}`.", self.name);
        }
        Ok(self)
    }
}

fn kind_of(kind: type_::Reader<'_>) -> Result<Kind> {
    Ok(match kind.which()? {
        type_::Uint16(()) => Kind::U16,
        type_::Uint32(()) => Kind::U32,
        type_::Uint64(()) => Kind::U64,
        type_::Enum(_) => Kind::Enum,
        type_::Text(()) => Kind::Text,
        type_::Data(()) => Kind::Data,
        type_::List(list) => match list.get_element_type()?.which()? {
            type_::Uint64(()) => Kind::U64List,
            _ => bail!("messages hold lists of UInt64 only"),
        },
        _ => bail!("messages hold unsigned integers, enums, text, data and lists only"),
    })
}

/// What is needed to read methods.
struct MethodContext {
    structs: HashMap<u64, String>,
    annotation_names: HashMap<u64, String>,
    documentation: Documentation,
}

impl MethodContext {
    fn read_interface(&self, node: node::Reader<'_>, interface: node::interface::Reader<'_>) -> Result<Interface> {
        let (id, name) = (node.get_id(), name_of(node)?);
        let mut methods = Vec::new();
        for (index, method) in interface.get_methods()?.iter().enumerate() {
            let method_name = method.get_name()?.to_str()?.to_string();
            let place = || format!("{name}.{method_name}");
            methods.push(Method {
                documentation: self.documentation.member(id, index, || format!("The method `{method_name}`.")),
                params: self.struct_name(method.get_param_struct_type()).with_context(place)?,
                results: self.struct_name(method.get_result_struct_type()).with_context(place)?,
                annotations: Annotations::read(method.get_annotations()?, &self.annotation_names)
                    .with_context(place)?,
                name: method_name,
            });
        }
        let documentation = self.documentation.node(id, || format!("The interface `{name}`."));
        Ok(Interface { id, name, documentation, methods })
    }

    fn struct_name(&self, id: u64) -> Result<String> {
        self.structs.get(&id).cloned().context("parameters and results are structs of messages.capnp")
    }
}
