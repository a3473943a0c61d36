/**
 * What the certificate library needs to be there before it loads. A module of our own, since the bundler keeps the order
 * of modules, but not of a script among them: imported directly, it would come too late in the binary.
 */
import "reflect-metadata";
