/**
 * isomorphic-git, read at the first call: most commands never make one, nor does a daemon that only runs what it has; it takes 30 ms or more.
 * Only its asynchronous functions can be called so; those are all that we call.
 */
type Library = Omit<typeof import("isomorphic-git"), "Errors">;

/** See the top of the file. */
export const git = new Proxy({} as Library, {
  get: (_, name) => async (options: unknown) => {
    const call = Reflect.get(await import("isomorphic-git"), name) as (options: unknown) => unknown;
    return await call(options);
  },
});
