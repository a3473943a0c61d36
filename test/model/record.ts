/** What a worker leaves behind outside the nodes, where no power cut reaches it. */

/** Files of one worker of one run. */
export interface RecordFiles {
  /** How many operations have returned. */
  done: string;
  /** JSON: what did not return what it should have, and when (ms since 1970). */
  failed: string;
  /** Written when the worker ends as it was told to. */
  ended: string;
  /** Whoever makes it ends all workers. */
  stop: string;
}

export function recordOf(directory: string, run: number, worker: number): RecordFiles {
  const base = `${directory}/run${run}-w${worker}`;
  return {
    done: `${base}.done`,
    failed: `${base}.failed`,
    ended: `${base}.ended`,
    stop: `${directory}/run${run}.stop`,
  };
}
