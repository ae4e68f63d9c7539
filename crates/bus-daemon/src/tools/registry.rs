//! The tools of a daemon by name, with their schemas compiled once.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bus_model::ToolName;
use bus_protocol::ToolInfo;
use jsonschema::Validator;
use serde_json::Value;

use super::Tool;

/// The tools of a daemon, by name.
#[derive(Default)]
pub struct Registry {
    tools: BTreeMap<ToolName, Entry>,
}

struct Entry {
    tool: Arc<dyn Tool>,
    arguments: Validator,
}

impl Registry {
    /// Collects tools.
    #[must_use]
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// The tool called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<dyn Tool>> {
        // The map is keyed by checked names: a text that is not a legal name has no tool.
        let name = ToolName::new(name).ok()?;
        self.tools.get(&name).map(|entry| Arc::clone(&entry.tool))
    }

    /// All tools, by name.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Tool> {
        self.tools.values().map(|entry| &*entry.tool)
    }

    /// The tools as clients see them, by name.
    #[must_use]
    pub fn describe(&self) -> Vec<ToolInfo> {
        let info = |tool: &dyn Tool| {
            let spec = tool.spec();
            ToolInfo {
                name: spec.name.clone(),
                description: spec.description.clone(),
                input_schema: spec.input_schema.clone(),
            }
        };
        self.iter().map(info).collect()
    }

    /// Number of tools.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Checks `arguments` against the schema of the tool called `name`.
    ///
    /// # Errors
    /// A sentence that names the argument and what is wrong with it.
    pub fn check_arguments(&self, name: &ToolName, arguments: &Value) -> Result<(), String> {
        let Some(entry) = self.tools.get(name) else {
            return Ok(());
        };
        entry.arguments.validate(arguments).map_err(|error| {
            let at = error.instance_path().to_string();
            let what: String = error.masked().to_string().chars().take(500).collect();
            let at = if at.is_empty() {
                "arguments"
            } else {
                at.as_str()
            };
            format!("{at} of {name}: {what}; see its inputSchema in list_tools")
        })
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tools.keys()).finish()
    }
}

/// Collects tools; [`RegistryBuilder::build`] checks them.
#[derive(Default)]
pub struct RegistryBuilder {
    tools: Vec<Arc<dyn Tool>>,
}

impl RegistryBuilder {
    /// Adds `tool`.
    #[must_use]
    pub fn tool(mut self, tool: Arc<dyn Tool>) -> Self {
        self.tools.push(tool);
        self
    }

    /// Adds `tools`.
    #[must_use]
    pub fn tools(mut self, tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Compiles every schema.
    ///
    /// # Errors
    /// [`RegistryError`] for a name that is taken and for a schema that is none.
    pub fn build(self) -> Result<Registry, RegistryError> {
        let mut tools = BTreeMap::new();
        for tool in self.tools {
            let name = tool.spec().name.clone();
            let arguments = compile(&name, &tool.spec().input_schema)?;
            if tools
                .insert(name.clone(), Entry { tool, arguments })
                .is_some()
            {
                return Err(RegistryError::Taken { name });
            }
        }
        Ok(Registry { tools })
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.tools.iter().map(|tool| &tool.spec().name))
            .finish()
    }
}

/// Why a set of tools cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two tools have one name.
    #[error("there are two tools called {name}: give one of them another name")]
    Taken {
        /// The name.
        name: ToolName,
    },
    /// An input schema is not an object schema that can be compiled.
    #[error("the input schema of tool {name} is not a usable JSON schema: {problem}")]
    Schema {
        /// The tool.
        name: ToolName,
        /// What is wrong with it.
        problem: String,
    },
}

/// Compiles the schema of a tool's arguments.
pub(super) fn compile(name: &ToolName, schema: &Value) -> Result<Validator, RegistryError> {
    let refused = |problem: String| RegistryError::Schema {
        name: name.clone(),
        problem,
    };
    if !schema.is_object() {
        return Err(refused("it must be a JSON object".to_owned()));
    }
    jsonschema::validator_for(schema).map_err(|error| refused(error.to_string()))
}
