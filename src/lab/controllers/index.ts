/**
 * What kube-controller-manager and kube-scheduler do in a cluster: one controller a file, decisions in pure functions
 * beside it. Everything they know is in the API server; killed at any point, they go on where the objects stand.
 * Nothing about the mesh may enter: its objects are made by istiod like any user's.
 */
export { runControllers, type ControllersOptions } from './run.ts';
