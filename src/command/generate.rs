//! `completions` and `man`: files for packages, made from the definition of the command line.

use super::cli::definition_for_help;
use super::failure::Failure;
use super::output::print_stdout;
use clap_complete::Shell;

/// Prints the completion script of a shell.
pub fn print_completions(shell: Shell) {
    let mut definition = definition_for_help();
    let name = definition.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definition, name, &mut script);
    print_stdout(&String::from_utf8_lossy(&script));
}

/// Prints the man page of the program, or of one of its commands, in roff.
pub fn print_man_page(command: Option<&str>) -> Result<(), Failure> {
    let program = definition_for_help();
    let definition = match command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(found) => found.clone(),
            None => {
                let names: Vec<_> = program.get_subcommands().map(clap::Command::get_name).collect();
                return Err(Failure::Usage(format!("there is no such command. hint: one of {}", names.join(", "))));
            }
        },
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(definition)
        .render(&mut page)
        .map_err(|error| Failure::Runtime(format!("cannot make the man page: {error}")))?;
    print_stdout(&String::from_utf8_lossy(&page));
    Ok(())
}
