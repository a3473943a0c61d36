/** What a module's rules can ask about. In a module's `.holdfast/` this file names its own resources, made from its module.yaml. */

/** A resource's name, such as tcp.db. */
export type ModuleResource = string;
