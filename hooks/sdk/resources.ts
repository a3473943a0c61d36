/** What a module's rules can ask about. In a module's `.holdfast/mod.ts` the type has the names of its own resources, from its module.yaml. */

/** A resource's name, such as tcp.db. */
export type ModuleResource = string;
