// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "ctl/commands.h"

namespace telehelm::ctl {
namespace {

constexpr const char* kBash = R"sh(# telehelmctl: bash completion. Use: source <(telehelmctl completion bash)
_telehelmctl() {
  local word=${COMP_WORDS[COMP_CWORD]} command= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case ${COMP_WORDS[i]} in
      --state-dir|--server) ((i++)) ;;
      -*) ;;
      *) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  local commands="runs show plan start watch pause resume stop checkpoint restart mixture lr lineage checkpoints events audit series export note delete import status daemon completion"
  case $command in
    "") COMPREPLY=($(compgen -W "$commands --json --server --state-dir --help --version" -- "$word")) ;;
    start) COMPREPLY=($(compgen -f -X '!*.toml' -- "$word") $(compgen -d -- "$word") $(compgen -W "--name --ranks --reason --json" -- "$word")) ;;
    plan) COMPREPLY=($(compgen -f -X '!*.toml' -- "$word") $(compgen -d -- "$word") $(compgen -W "--flops --json" -- "$word")) ;;
    import)
      if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "--as --reason --json" -- "$word")); else COMPREPLY=($(compgen -d -- "$word")); fi ;;
    daemon) COMPREPLY=($(compgen -W "start stop --any-port --stop-jobs" -- "$word")) ;;
    completion) COMPREPLY=($(compgen -W "bash zsh fish" -- "$word")) ;;
    runs|status) COMPREPLY=($(compgen -W "--json" -- "$word")) ;;
    *)
      if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "--json --reason --at-step --no-wait --timeout --no-checkpoint --attempt --step --lr-scale --clip --data-seed --skip --mixture --csv --format --out --series --attempts --from --to --buckets --limit --deleted --steps --keep-checkpoints --yes" -- "$word"))
      else
        COMPREPLY=($(compgen -W "$(telehelmctl runs --names 2>/dev/null)" -- "$word"))
      fi ;;
  esac
}
complete -F _telehelmctl telehelmctl
)sh";

constexpr const char* kZsh = R"sh(#compdef telehelmctl
# telehelmctl: zsh completion. Use: source <(telehelmctl completion zsh)
_telehelmctl() {
  local -a commands
  commands=(runs:'list runs' show:'one run in detail' plan:'a config on paper' start:'start a run from a config' watch:'a live line per step'
    pause:'hold at a step boundary' resume:'go on' stop:'end the run' checkpoint:'save now' restart:'new attempt from a checkpoint'
    mixture:'set the data mixture' lr:'scale the learning rates' lineage:'attempts, forks, what they cost' checkpoints:'list checkpoints' events:'what happened'
    audit:'who ordered what' series:'list or print curves' export:'a whole run as csv, jsonl or tfevents' note:'add a note' delete:'delete an ended run' import:'a run of another machine' status:'the daemon' daemon:'start or stop the daemon'
    completion:'shell completion')
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case $words[2] in
    start|plan) _files -g '*.toml' ;;
    import) if [[ $PREFIX == -* ]]; then compadd -- --as --reason --json; else _files -/; fi ;;
    audit) if [[ $PREFIX == -* ]]; then compadd -- --deleted --limit --json; else compadd -- ${(f)"$(telehelmctl runs --names 2>/dev/null)"}; fi ;;
    daemon) compadd start stop ;;
    completion) compadd bash zsh fish ;;
    runs|status) compadd -- --json ;;
    *) compadd -- ${(f)"$(telehelmctl runs --names 2>/dev/null)"} ;;
  esac
}
compdef _telehelmctl telehelmctl
)sh";

constexpr const char* kFish = R"sh(# telehelmctl: fish completion. Use: telehelmctl completion fish | source
complete -c telehelmctl -f
set -l commands runs show plan start watch pause resume stop checkpoint restart mixture lr lineage checkpoints events audit series export note delete import status daemon completion
complete -c telehelmctl -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c telehelmctl -l json -d 'machine-readable output'
complete -c telehelmctl -l server -x -d 'HOST:PORT of the daemon'
complete -c telehelmctl -l state-dir -r -d 'state folder of the local daemon'
complete -c telehelmctl -n '__fish_seen_subcommand_from delete' -l keep-checkpoints -d 'leave them where they are'
complete -c telehelmctl -n '__fish_seen_subcommand_from delete' -l yes -d 'do not ask'
complete -c telehelmctl -n '__fish_seen_subcommand_from audit' -l deleted -d 'the runs that were deleted'
complete -c telehelmctl -n '__fish_seen_subcommand_from import' -l as -x -d 'another name than its own'
complete -c telehelmctl -n '__fish_seen_subcommand_from import' -l reason -x -d 'why'
complete -c telehelmctl -n '__fish_seen_subcommand_from import' -a '(__fish_complete_directories)'
complete -c telehelmctl -n '__fish_seen_subcommand_from start plan' -F
complete -c telehelmctl -n '__fish_seen_subcommand_from daemon' -a 'start stop'
complete -c telehelmctl -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
complete -c telehelmctl -n '__fish_seen_subcommand_from show watch pause resume stop checkpoint restart mixture lr lineage checkpoints events audit series export note delete' -a '(telehelmctl runs --names 2>/dev/null)'
)sh";

} // namespace

int completion(const Call& call, const std::string& shell) {
    call.terminal.out << (shell == "bash" ? kBash : shell == "zsh" ? kZsh : kFish);
    return kOk;
}

} // namespace telehelm::ctl
